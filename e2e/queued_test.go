package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestQueued asks for backups and restores while no worker is running. Their Location
// answers at every gateway, they say what they wait for, and what is cancelled never
// starts.
func TestQueued(t *testing.T) {
	s := newSite(t, testenv.NATSBinary(t), victimWorker, "24h")
	s.worker.kill(syscall.SIGKILL)
	ask := func(path, body string) string {
		t.Helper()
		a := s.gateway.call("POST", path, body, "Prefer", "respond-async")
		s.gateway.want(a, 202, `"status":"pending"`, `"waitsFor":"A worker of the pool default`)
		return strings.TrimPrefix(a.header.Get("Location"), "/api/v1")
	}
	kept := ask("/backups", full)
	wanted := []string{kept, ask("/backups", full), ask("/backups/"+s.backup+"/restore", `{}`)}
	known := func(d *daemon) {
		t.Helper()
		for _, path := range wanted {
			d.want(d.call("GET", path, ""), 200, `"status":"pending"`, `"waitsFor":"A worker of the pool default`)
		}
	}
	known(s.gateway)
	other := s.process("other", "gateway, catalog", s.nats.URL, "24h")
	other.ready()
	known(other)
	s.gateway.kill(syscall.SIGKILL)
	s.gateway.run()
	s.gateway.ready()
	known(s.gateway)
	s.gateway.want(s.gateway.call("DELETE", kept, ""), 409, "no worker of the pool default has taken it yet")
	s.gateway.want(s.gateway.call("DELETE", "/backups/"+s.backup, ""), 503, "a worker of the pool default does it as soon as one is running; there is none now")
	for _, path := range wanted[1:] {
		s.gateway.want(s.gateway.call("POST", path+"/cancel", ""), 202, `"status":"pending"`, `"waitsFor":"A worker of the pool default`)
	}

	s.worker.run()
	for i, path := range wanted {
		testenv.Eventually(t, time.Minute, func() error {
			a, err := other.try("GET", path, "")
			switch {
			case err != nil:
				return err
			case i == 0 && a.status == 200 && a.backup()["status"] == "completed":
				return nil
			case i > 0 && (a.status == 409 && strings.Contains(a.body, "was cancelled before a worker took it") || strings.Contains(a.body, `"reason":"cancelled"`)):
				return nil
			}
			return fmt.Errorf("%s: %d %s", path, a.status, a.body)
		})
	}
	var all pastEvents
	testenv.Eventually(t, time.Minute, func() (err error) {
		all, err = s.log.history()
		return err
	})
	for a, history := range all {
		if a.ID == s.backup || strings.HasSuffix(kept, a.ID) {
			continue
		}
		for _, e := range history {
			if _, ok := e.(events.RestoreStarted); ok || e.EventType() == "backup.started.v1" {
				t.Errorf("%s has started", a.ID)
			}
		}
	}
	if err := s.is("changed"); err != nil {
		t.Error(err)
	}
}
