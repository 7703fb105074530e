package gateway_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// TestTooManyJobs asks for more work of a project that has as many jobs as are allowed.
// Other projects, what ends a job, and the repeat of what was accepted are not refused.
func TestTooManyJobs(t *testing.T) {
	s := start(t)
	s.append(events.ProjectAggregate("q"), events.ProjectRegistered{Name: "Q", Pool: "default", Parts: []string{"config"}, Destinations: []string{"local"}, DefaultDestination: "local"})
	id := s.backup()
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Idempotency-Key", "k"), 201)
	s.waiting.Store(3)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/backups", `{"projectId":"p"}`},
		{"POST", "/api/v1/backups/" + id + "/verify", ""},
		{"POST", "/api/v1/backups/" + id + "/restore", `{"dryRun":true}`},
		{"DELETE", "/api/v1/backups/" + id, ""},
	} {
		a := s.want(s.call(c.method, c.path, c.body), 429, `"code":"rate_limited"`, "The project p has 3 jobs that wait or run")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.method, c.path)
		}
	}
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Idempotency-Key", "k"), 201)
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"q"}`, "Prefer", "respond-async"), 202)
	s.waiting.Store(2)
	s.work = func(c backup.Create) error { s.accept(c); return nil }
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "respond-async"), 202)
	s.waiting.Store(3)
	s.want(s.call("POST", a.Header.Get("Location")+"/cancel", ""), 200)
}

// TestWhatIsSetAsideIsShown puts an event into the log that cannot be decoded, and a
// command among the dead letters.
func TestWhatIsSetAsideIsShown(t *testing.T) {
	s := start(t)
	s.letters.Store(2)
	s.append(events.BackupAggregate("p", "backup-x"), events.Broken{Type: "backup.started.v1", Err: events.ErrBroken})
	id := s.backup() // behind it
	s.want(s.call("GET", "/api/v1/backups/"+id, ""), 200)
	s.want(s.call("GET", "/readyz", ""), 200, "1 events of the log cannot be decoded", "2 commands were set aside")
	s.want(s.call("GET", "/metrics", ""), 200, "holdfast_undecodable_events 1", "holdfast_dead_letters 2")
}
