package gateway_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// TestFaultyLog asks about a backup that exists while the log cannot be read: it is
// never said to be unknown.
func TestFaultyLog(t *testing.T) {
	for _, f := range eventstest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			s := start(t)
			path := "/api/v1/backups/" + s.backup()
			s.faulty.Set(f)
			s.want(s.call("GET", path+"/download", ""), 503, `"code":"unavailable"`)
			s.want(s.call("POST", path+"/verify", "", "Prefer", "wait=0"), 503)
			s.want(s.call("POST", path+"/restore", `{}`), 503)
			s.want(s.call("DELETE", path, ""), 503)
			s.faulty.Set(eventstest.None)
			s.want(s.call("DELETE", path, ""), 200)
		})
	}
}

// TestARequestThatMayHaveBeenTaken says so, and where to look.
func TestARequestThatMayHaveBeenTaken(t *testing.T) {
	for name, work := range map[string]func(s *server, c backup.Create) error{
		"the log goes away behind it": func(s *server, c backup.Create) error { s.accept(c); s.faulty.Set(eventstest.TimesOut); return nil },
		"its acknowledgement is lost": func(*server, backup.Create) error { return fmt.Errorf("publish: %w", events.ErrUnavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.work = func(c backup.Create) error { return work(s, c) }
			s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`), 503, "may have been taken", "look at /api/v1/backups/backup-", "the same Idempotency-Key")
		})
	}
}
