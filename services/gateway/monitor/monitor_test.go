package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
)

func serve(t *testing.T, m *monitor.Monitor) (get func(path string) (int, string)) {
	t.Helper()
	s, err := monitor.Listen(t.Context(), "127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
}

// TestReadyz follows a process from its start: what it waits for, then its checks.
func TestReadyz(t *testing.T) {
	m := monitor.New()
	get := serve(t, m)
	report := func(want int) (r monitor.Report) {
		t.Helper()
		status, body := get("/readyz")
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != want || r.Ready != (want == http.StatusOK) {
			t.Errorf("%d %s, %v; want %d", status, body, err, want)
		}
		return r
	}
	if r := report(503); r.Checks["start"] == "" {
		t.Errorf("%+v", r)
	}
	m.Waiting("Waiting for the NATS server")
	if r := report(503); r.Checks["start"] != "Waiting for the NATS server" {
		t.Errorf("%+v", r)
	}
	m.Started()
	if r := report(200); len(r.Checks) != 0 || r.Warnings == nil || r.Pools == nil {
		t.Errorf("%+v", r)
	}
	var broken error
	m.Check(monitor.Check{Name: "reads", Do: func(context.Context) error { return nil }}, monitor.Check{Name: "writes", Do: func(context.Context) error { return broken }})
	m.Warn(func(context.Context) []string { return []string{"look at this"} })
	m.Pools(func() map[string]string { return map[string]string{"default": monitor.OK} })
	if r := report(200); r.Checks["writes"] != monitor.OK || len(r.Warnings) != 1 || r.Pools["default"] != monitor.OK {
		t.Errorf("%+v", r)
	}
	broken = errors.New("The disk is full")
	if r := report(503); r.Checks["writes"] != "The disk is full" || r.Checks["reads"] != monitor.OK {
		t.Errorf("%+v", r)
	}
	if status, body := get("/metrics"); status != 200 || !strings.Contains(body, `holdfast_ready{check="writes"} 0`) || !strings.Contains(body, `holdfast_ready{check="reads"} 1`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get("/healthz"); status != 200 || !strings.Contains(body, monitor.OK) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("/api/v1/backups"); status != 404 {
		t.Errorf("another route: %d", status)
	}
}

// TestACheckThatHangs does not keep the others from being seen.
func TestACheckThatHangs(t *testing.T) {
	m := monitor.New()
	m.Started()
	m.Check(monitor.Check{Name: "hangs", Do: func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("it does not answer")
	}}, monitor.Check{Name: "works", Do: func(context.Context) error { return nil }})
	if r := m.Report(t.Context()); r.Ready || r.Checks["works"] != monitor.OK || r.Checks["hangs"] != "it does not answer" {
		t.Errorf("%+v", r)
	}
}
