package monitor

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// Damage returns the metric that says whether the event log has lost something.
func Damage(lost func() bool) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "holdfast_log_damaged", Help: "Whether the event log has lost something that nobody has accepted, so that nothing is written.",
	}, func() float64 {
		if lost() {
			return 1
		}
		return 0
	})
}

// Descriptions of what a catalog says of itself.
var (
	descUp       = prometheus.NewDesc("holdfast_catalog_up", "Whether the catalog answered.", nil, nil)
	descLag      = prometheus.NewDesc("holdfast_projection_lag_events", "How far the catalog is behind the log.", nil, nil)
	descRevision = prometheus.NewDesc("holdfast_projection_revision", "The newest event that the catalog knows.", nil, nil)
)

// Catalog returns the metrics that say how near a catalog is to the event log.
func Catalog(r catalog.Reader) prometheus.Collector { return progress{r} }

type progress struct{ r catalog.Reader }

// Describe implements prometheus.Collector.
func (progress) Describe(out chan<- *prometheus.Desc) {
	out <- descUp
	out <- descLag
	out <- descRevision
}

// Collect implements prometheus.Collector.
func (p progress) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	f, err := p.r.Figures(ctx, catalog.Figures{})
	Progress(out, f, err)
}

// Progress writes the metrics of [Catalog], for who has asked it already.
func Progress(out chan<- prometheus.Metric, f catalog.Monitor, err error) {
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	if err != nil {
		gauge(descUp, 0)
		return
	}
	gauge(descUp, 1)
	gauge(descLag, float64(f.Lag))
	gauge(descRevision, float64(f.Revision))
}
