package gateway_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/events/eventstest"
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
