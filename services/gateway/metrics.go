package gateway

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
)

// metrics are what the catalog knows, and what the gateway does.
type metrics struct {
	b        Backend
	workers  func() map[string]bool // whether a pool has a worker
	requests *prometheus.CounterVec
}

var (
	descBackups  = prometheus.NewDesc("holdfast_backups", "Backups that are listed.", []string{"project", "status", "type", "destination"}, nil)
	descBytes    = prometheus.NewDesc("holdfast_backup_bytes", "Stored bytes of the backups that are listed.", []string{"project", "status", "type", "destination"}, nil)
	descDuration = prometheus.NewDesc("holdfast_backup_duration_seconds", "From request to end of completed backups.", []string{"type"}, nil)
	descQueue    = prometheus.NewDesc("holdfast_backup_queue_depth", "Backups that wait for a worker or for another attempt, and commands that nobody has taken.", nil, nil)
	descSuccess  = prometheus.NewDesc("holdfast_last_success_timestamp_seconds", "When the last backup of a project completed.", []string{"project"}, nil)
	descDamaged  = prometheus.NewDesc("holdfast_verification_failed", "Backups whose last verification failed.", []string{"project"}, nil)
	descRestores = prometheus.NewDesc("holdfast_restores", "Restores into a project, without dry runs.", []string{"project", "status"}, nil)
	descRestored = prometheus.NewDesc("holdfast_last_restore_timestamp_seconds", "When the last restore into a project ended in this status.", []string{"project", "status"}, nil)
	descBroken   = prometheus.NewDesc("holdfast_undecodable_events", "Events of the log that cannot be decoded.", nil, nil)
	descLetters  = prometheus.NewDesc("holdfast_dead_letters", "Commands of the last 90 days that were set aside, because they could not be decoded or failed each time.", nil, nil)
	descWorkers  = prometheus.NewDesc("holdfast_pool_has_worker", "Whether a pool that has projects or backups to make has a worker.", []string{"pool"}, nil)
)

func newMetrics(b Backend, workers func() map[string]bool) *metrics {
	return &metrics{b: b, workers: workers, requests: prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "holdfast_http_requests_total", Help: "Answered requests."}, []string{"method", "route", "status"})}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	monitor.Catalog(m.b.Catalog).Describe(out)
	for _, d := range []*prometheus.Desc{descBackups, descBytes, descDuration, descQueue, descSuccess, descDamaged, descRestores, descRestored, descBroken, descLetters, descWorkers} {
		out <- d
	}
}

// collectLog tells of the log and of the workers.
func (m *metrics) collectLog(ctx context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	if m.b.DeadLetters != nil {
		if n, _, err := m.b.DeadLetters(ctx); err == nil {
			gauge(descLetters, float64(n))
		}
	}
	for pool, has := range m.workers() {
		n := 0.0
		if has {
			n = 1
		}
		gauge(descWorkers, n, pool)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.collectLog(ctx, gauge)
	f, err := m.b.Catalog.Figures(ctx, catalog.Figures{})
	if monitor.Progress(out, f, err); err != nil {
		return
	}
	var queued int64
	for _, b := range f.Backups {
		labels := []string{b.Project, string(b.Status), b.Type, b.Destination}
		gauge(descBackups, float64(b.Count), labels...)
		gauge(descBytes, float64(b.Size), labels...)
		if b.Status == catalog.Pending {
			queued += b.Count
		}
	}
	if m.b.Queued != nil {
		if n, err := m.b.Queued(ctx); err == nil {
			queued += n
		}
	}
	gauge(descQueue, float64(queued))
	gauge(descBroken, float64(f.Broken))
	for project, n := range f.Damaged {
		gauge(descDamaged, float64(n), project)
	}
	for project, at := range f.Success {
		gauge(descSuccess, float64(at.Unix()), project)
	}
	for _, r := range f.Restores {
		gauge(descRestores, float64(r.Count), r.Project, string(r.Status))
		if !r.Ended.IsZero() {
			gauge(descRestored, float64(r.Ended.Unix()), r.Project, string(r.Status))
		}
	}
	for _, d := range f.Durations {
		buckets := map[float64]uint64{}
		for i, bound := range catalog.DurationBuckets() {
			buckets[bound] = d.Buckets[i]
		}
		out <- prometheus.MustNewConstHistogram(descDuration, d.Count, d.Seconds, buckets, d.Type)
	}
}
