// Package monitor serves what operators and their tools ask of every process: whether it
// lives (/healthz), whether it is ready and what needs somebody (/readyz), and its
// metrics (/metrics).
package monitor

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is a thing that must work before a process is ready.
type Check struct {
	Name string
	Do   func(ctx context.Context) error // returns a sentence for people; it must heed ctx
}

// Monitor knows what must work in a process. Goroutines may share it.
type Monitor struct {
	registry *prometheus.Registry

	mu       sync.Mutex
	starting string // what the process waits for; empty: it has started
	checks   []Check
	warnings []func(ctx context.Context) []string
	pools    func() map[string]string
}

// checkTime is how long all checks together may take.
const checkTime = 3 * time.Second

// New returns the monitor of a process that is starting.
func New() *Monitor {
	m := &Monitor{registry: prometheus.NewRegistry(), starting: "The process is starting"}
	m.Register(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), ready{m})
	return m
}

// Check adds checks.
func (m *Monitor) Check(checks ...Check) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checks = append(m.checks, checks...)
}

// Warn adds what knows of things that do not keep the process from being ready and
// need somebody all the same.
func (m *Monitor) Warn(f func(ctx context.Context) []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.warnings = append(m.warnings, f)
}

// Pools says how the pools of workers are learned: [OK] or a sentence, by pool.
func (m *Monitor) Pools(f func() map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = f
}

// Register adds metrics. Their names must be new.
func (m *Monitor) Register(cs ...prometheus.Collector) { m.registry.MustRegister(cs...) }

// Waiting says what a process that is starting waits for.
func (m *Monitor) Waiting(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starting = what
}

// Started ends the start: from now on the checks decide.
func (m *Monitor) Started() { m.Waiting("") }

// OK is the state of what works.
const OK = "ok"

// Report is the answer of /readyz.
type Report struct {
	Ready    bool              `json:"ready"`
	Checks   map[string]string `json:"checks"`   // OK, or why it does not work
	Warnings []string          `json:"warnings"` // what needs somebody
	Pools    map[string]string `json:"pools"`    // OK, or a sentence, by pool of workers; empty where they are not known
}

// Report runs all checks, side by side.
func (m *Monitor) Report(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	m.mu.Lock()
	starting, checks, warnings, pools := m.starting, m.checks, m.warnings, m.pools
	m.mu.Unlock()
	r := Report{Ready: starting == "", Checks: map[string]string{}, Warnings: []string{}, Pools: map[string]string{}}
	if starting != "" {
		r.Checks["start"] = starting
	}
	states := make([]string, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			states[i] = OK
			if err := c.Do(ctx); err != nil {
				states[i] = err.Error()
			}
		})
	}
	for _, f := range warnings {
		r.Warnings = append(r.Warnings, f(ctx)...)
	}
	if pools != nil {
		r.Pools = pools()
	}
	running.Wait()
	for i, c := range checks {
		r.Checks[c.Name] = states[i]
		r.Ready = r.Ready && states[i] == OK
	}
	return r
}

// Healthz answers /healthz.
func (*Monitor) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": OK})
	})
}

// Readyz answers /readyz: 200, or 503 when something does not work.
func (m *Monitor) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report, status := m.Report(r.Context()), http.StatusOK
		if !report.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, report)
	})
}

// Metrics answers /metrics.
func (m *Monitor) Metrics() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// ready tells Prometheus what the checks say.
type ready struct{ m *Monitor }

var descReady = prometheus.NewDesc("holdfast_ready", "Whether a check of this process says that it is ready.", []string{"check"}, nil)

// Describe implements prometheus.Collector.
func (ready) Describe(out chan<- *prometheus.Desc) { out <- descReady }

// Collect implements prometheus.Collector.
func (r ready) Collect(out chan<- prometheus.Metric) {
	for name, state := range r.m.Report(context.Background()).Checks {
		v := 0.0
		if state == OK {
			v = 1
		}
		out <- prometheus.MustNewConstMetric(descReady, prometheus.GaugeValue, v, name)
	}
}
