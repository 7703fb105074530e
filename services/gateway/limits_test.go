package gateway_test

import (
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// TestNumbersThatOverflow are clamped to what is meant, or refused.
func TestNumbersThatOverflow(t *testing.T) {
	s := start(t)
	s.work = func(c backup.Create) error {
		a := s.accept(c)
		time.AfterFunc(300*time.Millisecond, func() {
			s.append(a, events.BackupCompleted{Attempt: 1, Pool: c.Pool, Key: "k", Size: 1, SHA256: sumOf(nil)})
		})
		return nil
	}
	for wait, c := range map[string]struct {
		status  int
		applied string
	}{
		"wait=0": {202, "wait=0"}, "wait=1": {201, "wait=1"}, "wait=9223372037": {201, "wait=9223372037"}, "wait=1000000000000": {201, "wait=1000000000000"},
		"wait=99999999999999999999999": {201, "wait=9223372036854775807"}, "wait=-1": {201, ""}, "wait=1e3": {201, ""}, "wait=": {201, ""},
	} {
		a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", wait), c.status)
		if got := a.Header.Get("Preference-Applied"); got != c.applied {
			t.Errorf("%s: applied %q, want %q", wait, got, c.applied)
		}
	}
	cursor := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for query, status := range map[string]int{
		"limit=501": 400, "limit=-1": 400, "limit=9223372036854775808": 400, "offset=-1": 400, "offset=9223372036854775807": 200, "offset=9223372036854775808": 400,
		"createdAfter=2262-04-12T00:00:00Z": 200, "createdAfter=9999-12-31T23:59:59Z": 200, "createdBefore=0001-01-01T00:00:00Z": 200, "createdAfter=99999-01-01T00:00:00Z": 400,
		"cursor=" + cursor(`{"created":"2262-04-12T00:00:00Z","id":"x"}`): 400, "cursor=" + cursor(`{"created":"0001-01-01T00:00:00Z"}`): 400,
		"cursor=" + cursor(`{"created":1e99}`): 400, "cursor=" + url.QueryEscape("!"): 400,
	} {
		s.want(s.call("GET", "/api/v1/backups?"+query, ""), status)
	}
	// The rows are there: a time after all of them, or before all of them, finds none or all.
	s.want(s.call("GET", "/api/v1/backups?createdAfter=9999-12-31T23:59:59Z", ""), 200, `"total":0`)
	s.want(s.call("GET", "/api/v1/backups?createdBefore=9999-12-31T23:59:59Z", ""), 200, `"total":8`)
	s.want(s.call("GET", "/api/v1/backups?createdAfter=0001-01-02T00:00:00Z", ""), 200, `"total":8`)
}
