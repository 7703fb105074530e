package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/catalog/projection"
	"github.com/holdfast-dev/holdfast/services/gateway"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
	"github.com/holdfast-dev/holdfast/services/restore"
)

const (
	writer = "sk_live_wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"
	reader = "sk_live_rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"
	narrow = "sk_live_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" // may touch the project "other" only
	nobody = "sk_live_00000000000000000000000000000000" // may touch no project
	stale  = "sk_live_ssssssssssssssssssssssssssssssss" // has expired
)

// server is a gateway before a log in memory, a real catalog, and a worker of
// few lines.
type server struct {
	t        *testing.T
	log      *eventstest.Log
	faulty   *eventstest.Faulty // by which the gateway reads the log
	base     string
	archive  []byte
	catalog  catalog.Reader
	reads    atomic.Int64                             // queries for ranges
	restores atomic.Int64                             // commands to restore
	dead     sync.Map                                 // pools without a worker
	waiting  atomic.Uint64                            // jobs of the project p
	letters  atomic.Uint64                            // commands that were set aside
	unread   atomic.Pointer[error]                    // why archives cannot be read
	undo     events.Event                             // what becomes of an undo
	queue    sync.Map                                 // commands that nobody has taken, by the id of their job
	onRead   atomic.Pointer[func(backup.ArchiveRead)] // is called by each query for a range before it is answered
	// pool whose worker was asked to cancel
	cancelledBy atomic.Value
	// work does what the worker does with a request.
	work func(backup.Create) error
}

// limits are those that a test needs other than usual.
type limits struct {
	maxWait time.Duration
	conns   int
	tls     *tls.Config
	quiet   bool // nothing wakes requests that wait
}

func start(t *testing.T) *server {
	t.Helper()
	return startWith(t, limits{maxWait: time.Second})
}

func startWith(t *testing.T, l limits) *server {
	t.Helper()
	s := &server{t: t, log: &eventstest.Log{Name: t.Name()}, archive: make([]byte, 3<<20+17)}
	s.faulty = eventstest.NewFaulty(s.log)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range s.archive {
		s.archive[i] = byte(rnd.Uint32())
	}
	s.work = func(c backup.Create) error { s.complete(c); return nil }
	awake := watch
	if l.quiet {
		awake = func(events.Aggregate) (<-chan struct{}, func()) { return nil, func() {} }
	}
	p := projection.New(filepath.Join(t.TempDir(), "catalog.db"), s.log, zap.NewNop())
	watched := monitor.New()
	watched.Check(monitor.Check{Name: "catalog", Do: p.Ready})
	watched.Started()
	g, err := gateway.New(t.Context(), gateway.Config{
		Listen: "127.0.0.1:0", MaxWait: l.maxWait, MaxQueued: 3, Conns: l.conns, TLS: l.tls, Stall: time.Second, Logger: zap.NewNop(),
		Monitor: watched, Metrics: true,
		Keys: []gateway.Key{
			{Name: "w", Hash: gateway.HashKey(writer), Permissions: map[string]gateway.Level{"backups": gateway.Write}, Projects: []string{"*"}},
			{Name: "r", Hash: gateway.HashKey(reader), Permissions: map[string]gateway.Level{"backups": gateway.Read}, Projects: []string{"*"}},
			{Name: "n", Hash: gateway.HashKey(narrow), Permissions: map[string]gateway.Level{"backups": gateway.Write}, Projects: []string{"other"}},
			{Name: "0", Hash: gateway.HashKey(nobody), Permissions: map[string]gateway.Level{"backups": gateway.Write}, Projects: []string{}},
			{Name: "s", Hash: gateway.HashKey(stale), Permissions: map[string]gateway.Level{"backups": gateway.Write}, Projects: []string{"*"}, Expires: time.Now().Add(-time.Second)},
		},
	}, gateway.Backend{Send: s.send, Log: s.faulty, Catalog: p, Watch: awake, Progress: func(context.Context, events.Aggregate) (events.Progress, bool) {
		return events.Progress{Phase: "database", Bytes: 7}, true
	}, Archive: s.read, Waiting: s.command, Find: s.find, DeadLetters: func(context.Context) (uint64, time.Time, error) { return s.letters.Load(), time.Now(), nil }, Backlog: func(_ context.Context, _, project string) (uint64, error) {
		if project != "p" {
			return 0, nil
		}
		return s.waiting.Load(), nil
	}, Alive: func(_ context.Context, _, pool string) bool {
		_, dead := s.dead.Load(pool)
		return !dead
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.base, s.catalog = "http://"+g.Addr().String(), p
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
	s.append(events.ProjectAggregate("p"), events.ProjectRegistered{Name: "My Project", Pool: "default", Parts: []string{"database", "config"}, Destinations: []string{"local"}, DefaultDestination: "local"})
	if _, err := p.Projects(t.Context(), catalog.Projects{Min: 1}); err != nil {
		t.Fatal(err)
	}
	return s
}

// watch wakes often: what it promises is only that nothing is missed.
func watch(events.Aggregate) (<-chan struct{}, func()) {
	ch, done := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			select {
			case ch <- struct{}{}:
				time.Sleep(time.Millisecond)
			case <-done:
				return
			}
		}
	}()
	return ch, func() { close(done) }
}

func (s *server) append(a events.Aggregate, e events.Event) {
	last, err := s.log.Last(context.Background(), a)
	if err != nil && !errors.Is(err, events.ErrNoEvent) {
		panic(err)
	}
	if _, err := s.log.Append(context.Background(), a, last.Revision, e, events.Cause{}); err != nil {
		panic(err)
	}
}

func (s *server) send(_ context.Context, c events.Command, _ events.Cause) error {
	switch c := c.(type) {
	case backup.Create:
		return s.work(c)
	case restore.Create:
		s.restores.Add(1)
		s.queue.Store(c.ID, c)
	case restore.Undo:
		s.append(c.CommandRoute().About, events.RestoreUndoRequested{})
		s.append(c.CommandRoute().About, s.undo)
	case backup.Cancel:
		s.cancelledBy.Store(c.Pool)
		s.append(c.CommandRoute().About, events.BackupCancelRequested{})
		if !c.Queued {
			s.append(c.CommandRoute().About, events.BackupCancelled{})
		}
	case restore.Cancel:
		s.cancelledBy.Store(c.Pool)
		s.append(c.CommandRoute().About, events.RestoreCancelRequested{})
		if !c.Queued {
			s.append(c.CommandRoute().About, events.RestoreCancelled{})
		}
	case backup.Delete:
		s.append(c.CommandRoute().About, events.BackupDeleteRequested{})
		s.append(c.CommandRoute().About, events.BackupDeleted{})
	}
	return nil
}

// waiting answers as the queue does.
func (s *server) command(_ context.Context, _, _, id string, cmd any) (time.Time, error) {
	c, ok := s.queue.Load(id)
	if !ok {
		return time.Time{}, nil
	}
	b, err := json.Marshal(c)
	return time.Now(), errors.Join(err, json.Unmarshal(b, cmd))
}

func keptUntil() time.Time { return time.Now().Add(time.Hour) }

// find answers as the log does.
func (s *server) find(_ context.Context, kind, id string) (events.Aggregate, error) {
	for _, env := range s.log.All() {
		if env.Aggregate.Kind == kind && env.Aggregate.ID == id {
			return env.Aggregate, nil
		}
	}
	return events.Aggregate{}, events.ErrNoEvent
}

func (s *server) accept(c backup.Create) events.Aggregate {
	a := c.CommandRoute().About
	s.append(a, events.BackupRequested{Pool: c.Pool, Type: c.Type, Destination: c.Destination, Encrypt: c.Encrypt, Origin: c.Origin, BodyHash: c.BodyHash})
	s.append(a, events.BackupStarted{Attempt: 1})
	return a
}

func (s *server) complete(c backup.Create) {
	s.append(s.accept(c), events.BackupCompleted{Attempt: 1, Pool: c.Pool, Key: "p/x.tar.gz", Path: "/b/p/x.tar.gz", Size: int64(len(s.archive)), SHA256: sumOf(s.archive), Parts: []events.Part{{Name: "config", Bytes: 1, Entries: 1}}})
}

func (s *server) read(_ context.Context, _ string, q backup.ArchiveRead) ([]byte, error) {
	s.reads.Add(1)
	if f := s.onRead.Load(); f != nil {
		(*f)(q)
	}
	if err := s.unread.Load(); err != nil {
		return nil, *err
	}
	end := int64(len(s.archive)) // a destination gives what there is
	return s.archive[min(q.Offset, end):min(q.Offset+q.Length, end)], nil
}

type answer struct {
	*http.Response
	body string
}

// call makes a request; headers are names and values in turn. Unless there is
// one, it sends the key of the writer.
func (s *server) call(method, path, body string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", writer)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func (s *server) want(a answer, status int, words ...string) answer {
	s.t.Helper()
	if a.StatusCode != status {
		s.t.Errorf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			s.t.Errorf("%q is not in %s", w, a.body)
		}
	}
	return a
}

// backup makes a backup and returns its id.
func (s *server) backup() string {
	s.t.Helper()
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`), 201)
	var out struct{ Backup struct{ ID string } }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		s.t.Fatal(err)
	}
	return out.Backup.ID
}

func TestWhoMayDoWhat(t *testing.T) {
	s := start(t)
	id := s.backup()
	for _, c := range []struct {
		method, path, body, key string
		status                  int
		word                    string
	}{
		{"GET", "/api/v1/backups", "", "", 401, "X-API-Key"},
		{"GET", "/api/v1/nonesuch", "", "", 401, "unauthenticated"}, // no route answers without a key
		{"GET", "/api/v1/backups", "", stale, 401, "expired"},
		{"GET", "/api/v1/backups", "", reader, 200, id},
		{"POST", "/api/v1/backups", `{"projectId":"p"}`, reader, 403, "backups:write"},
		{"DELETE", "/api/v1/backups/" + id, "", reader, 403, "forbidden"},
		{"POST", "/api/v1/backups", `{"projectId":"p"}`, narrow, 400, "Project not found"}, // as if there were none
		{"GET", "/api/v1/backups/" + id, "", narrow, 404, "Backup not found"},
		{"GET", "/api/v1/backups", "", narrow, 200, `"backups":[]`},
		{"GET", "/api/v1/projects", "", narrow, 200, `{"projects":[]}`},
		{"GET", "/api/v1/backups/" + id + "/download", "", narrow, 404, "Backup not found"},
	} {
		s.want(s.call(c.method, c.path, c.body, "X-API-Key", c.key), c.status, c.word)
	}
	s.want(s.call("GET", "/api/v1/backups", "", "X-API-Key", "", "Authorization", "bearer "+reader), 200)
	for _, open := range []string{"/healthz", "/readyz", "/metrics"} {
		s.want(s.call("GET", open, "", "X-API-Key", ""), 200)
	}
}

// TestABrokenProjectIsShown with its reason, and keeps nothing from being ready.
func TestABrokenProjectIsShown(t *testing.T) {
	s := start(t)
	s.want(s.call("GET", "/readyz", ""), 200, `"warnings":[]`)
	s.want(s.call("GET", "/api/v1/projects/p", ""), 200, `"id":"p"`, `"status":"ok"`)
	s.append(events.ProjectAggregate("other"), events.ProjectRegistered{Name: "Other", Pool: "default", Parts: []string{"database"}, Destinations: []string{"local"}, DefaultDestination: "local", Problem: "The disk is away."})
	if _, err := s.catalog.Projects(t.Context(), catalog.Projects{Min: 2}); err != nil { // waits for it
		t.Fatal(err)
	}
	s.want(s.call("GET", "/api/v1/projects/other", ""), 200, `"status":"broken"`, `"problem":"The disk is away."`)
	s.want(s.call("GET", "/readyz", ""), 200, `"ready":true`, "project other: The disk is away.")
	s.want(s.call("GET", "/api/v1/projects/p", "", "X-API-Key", narrow), 404, "Project not found")
	s.want(s.call("GET", "/api/v1/projects/none", ""), 404, `"code":"not_found"`)
}

func TestErrorsAreJSON(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		word               string
	}{
		{"GET", "/nonesuch", "", nil, 404, `"code":"not_found"`},
		{"PUT", "/api/v1/backups", "", nil, 405, `"code":"method_not_allowed"`},
		{"POST", "/api/v1/backups", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, `"code":"unsupported_media_type"`},
		{"POST", "/api/v1/backups", `{"projectId":"p"}{}`, nil, 400, "one JSON object"},
		{"POST", "/api/v1/backups", `{"projectId":"p","encrypt":true,"x":1}`, nil, 400, `unknown field \"x\"; it may have projectId, type`},
		{"POST", "/api/v1/backups", `{"projectId":7}`, nil, 400, "projectId"},
		{"POST", "/api/v1/backups", `{"projectId":"p","type":"storage"}`, nil, 400, "it has database, config"},
		{"POST", "/api/v1/backups", `{"projectId":"p"}`, []string{"Idempotency-Key", strings.Repeat("x", 256)}, 400, "255"},
		{"GET", "/api/v1/backups?offset=-1", "", nil, 400, "offset must be a number, 0 or more"},
		{"GET", "/api/v1/backups?stats=yes", "", nil, 400, "stats must be one of true, false"},
		{"GET", "/api/v1/backups?destination=ftp", "", nil, 400, "backblaze"},
		{"GET", "/api/v1/backups?createdAfter=yesterday", "", nil, 400, "createdAfter"},
		{"GET", "/api/v1/backups?cursor=x", "", nil, 400, "nextCursor"},
		{"GET", "/api/v1/backups?whatever=1", "", nil, 200, `"total":0`},
	} {
		a := s.want(s.call(c.method, c.path, c.body, c.headers...), c.status, c.word)
		if c.status >= 400 && (!strings.HasPrefix(a.body, `{"success":false,"error":"`) || a.Header.Get("X-Request-Id") == "") {
			t.Errorf("%s %s: %s", c.method, c.path, a.body)
		}
		if c.status == 405 && !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("Allow: %q", a.Header.Get("Allow"))
		}
	}
	if a := s.call("GET", "/nonesuch", "", "X-Request-Id", "mine"); a.Header.Get("X-Request-Id") != "mine" || !strings.Contains(a.body, `"requestId":"mine"`) {
		t.Errorf("the client's request id was not kept: %s", a.body)
	}
}

func TestWhatWorkersSayReachesTheClient(t *testing.T) {
	s := start(t)
	body := `{"projectId":"p"}`
	s.work = func(backup.Create) error { return fmt.Errorf("publish: %w", events.ErrUnavailable) }
	if a := s.want(s.call("POST", "/api/v1/backups", body), 503, `"code":"unavailable"`); a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	s.work = func(c backup.Create) error {
		s.append(c.CommandRoute().About, events.BackupRejected{Code: string(fault.Unavailable), Message: "There is too little disk space"})
		return nil
	}
	s.want(s.call("POST", "/api/v1/backups", body), 503, "too little disk space")
	s.work = func(backup.Create) error { panic("a secret") }
	if a := s.want(s.call("POST", "/api/v1/backups", body, "X-Request-Id", "the-request"), 500, "Internal error; the log of holdfastd says more under the request id the-request"); strings.Contains(a.body, "secret") {
		t.Error("the text of a panic reached the client")
	}
	s.work = func(c backup.Create) error {
		s.append(s.accept(c), events.BackupFailed{Attempt: 1, Reason: events.ReasonNoSpace, Message: "Insufficient disk space", Final: true})
		return nil
	}
	s.want(s.call("POST", "/api/v1/backups", body), 500, `{"success":false,"error":"Backup failed: Insufficient disk space","code":"backup_failed"`)
	s.want(s.call("GET", "/api/v1/backups?status=failed", ""), 200, `"total":1`, `"reason":"no_space"`, `"error":"Insufficient disk space"`)
}

func TestWaiting(t *testing.T) {
	s := start(t)
	s.work = func(c backup.Create) error { s.accept(c); return nil } // and never ends
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=0", "Idempotency-Key", "k"), 202, `"status":"in_progress"`)
	if a.Header.Get("Preference-Applied") != "wait=0" || !strings.HasPrefix(a.Header.Get("Location"), "/api/v1/backups/backup-") {
		t.Errorf("headers %v", a.Header)
	}
	s.want(s.call("GET", strings.TrimSpace(a.Header.Get("Location")), ""), 200, `"progress":{"phase":"database","bytes":7`)
	s.want(s.call("GET", a.Header.Get("Location")+"/download", ""), 409, "has not completed yet")
	s.want(s.call("DELETE", a.Header.Get("Location"), ""), 409, "still running")
	// The server's own limit, one second here, ends in 202 as well.
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Idempotency-Key", "k"), 202, a.Header.Get("Location")[len("/api/v1/backups/"):])
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p","type":"config"}`, "Idempotency-Key", "k"), 422, "idempotency_mismatch")
	s.want(s.call("GET", "/api/v1/backups", ""), 200, `"total":1`)
}

// TestHugeWait is no wait at all when it overflows.
func TestHugeWait(t *testing.T) {
	s := startWith(t, limits{maxWait: time.Minute})
	s.work = func(c backup.Create) error {
		time.AfterFunc(200*time.Millisecond, func() { s.complete(c) })
		return nil
	}
	for _, wait := range []string{"9223372037", "99999999999999999999999", "1e9", "-5"} {
		s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait="+wait), 201)
	}
}

func TestHeldBackupsStay(t *testing.T) {
	s := start(t)
	id := s.backup()
	s.append(events.BackupAggregate("p", id), events.BackupHeld{})
	s.want(s.call("DELETE", "/api/v1/backups/"+id, ""), 409, "held")
	s.append(events.BackupAggregate("p", id), events.BackupReleased{})
	if a := s.want(s.call("DELETE", "/api/v1/backups/"+id, ""), 200); a.body != `{"success":true,"message":"Backup deleted"}` {
		t.Errorf("body %s", a.body)
	}
	s.want(s.call("GET", "/api/v1/backups/"+id, ""), 404, `{"success":false,"error":"Backup not found"`)
}

func TestRanges(t *testing.T) {
	s := start(t)
	path, n := "/api/v1/backups/"+s.backup()+"/download", len(s.archive)
	for _, c := range []struct {
		header   string
		from, to int
		status   int
	}{
		{"", 0, n, 200},
		{"bytes=0-0", 0, 1, 206},
		{"bytes=5-", 5, n, 206},
		{"bytes=-10", n - 10, n, 206},
		{"bytes=524280-1048590", 524280, 1048591, 206},
		{fmt.Sprintf("bytes=%d-%d", n-1, n+100), n - 1, n, 206},
		{"bytes=0-99999999999999999999", 0, n, 206},
		{"bytes=-99999999999999999999", 0, n, 206},
		{"bytes=99999999999999999999-", 0, 0, 416},
		{"bytes=+0-1", 0, 0, 416},
		{"bytes=0-1,5-6", 0, n, 200},
		{"lines=1-2", 0, n, 200},
		{fmt.Sprintf("bytes=%d-", n), 0, 0, 416},
		{"bytes=5-4", 0, 0, 416},
		{"bytes=-0", 0, 0, 416},
		{"bytes=x-y", 0, 0, 416},
	} {
		a := s.want(s.call("GET", path, "", "Range", c.header), c.status)
		if c.status == 416 {
			s.want(a, 416, "range_not_satisfiable")
			if a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", n) {
				t.Errorf("%s: Content-Range %q", c.header, a.Header.Get("Content-Range"))
			}
			continue
		}
		if a.body != string(s.archive[c.from:c.to]) {
			t.Errorf("%s: %d bytes, want %d", c.header, len(a.body), c.to-c.from)
		}
		if want := fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, n); c.status == 206 && a.Header.Get("Content-Range") != want {
			t.Errorf("%s: Content-Range %q, want %q", c.header, a.Header.Get("Content-Range"), want)
		}
	}
	before := s.reads.Load()
	head := s.want(s.call("HEAD", path, ""), 200)
	tag := head.Header.Get("ETag")
	if head.ContentLength != int64(n) || s.reads.Load() != before || tag != `"`+sumOf(s.archive)+`"` {
		t.Errorf("HEAD: length %d, %d reads, tag %s", head.ContentLength, s.reads.Load()-before, tag)
	}
	for _, match := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		s.want(s.call("GET", path, "", "If-None-Match", match), 304)
	}
	s.want(s.call("GET", path, "", "If-None-Match", `"other"`), 200)
	if a := s.want(s.call("HEAD", path, "", "Range", "bytes=5-"), 200); a.ContentLength != int64(n) {
		t.Errorf("HEAD with a range: length %d", a.ContentLength)
	}
	if a := s.want(s.call("GET", path, "", "Range", "bytes=5-", "If-Range", "W/"+tag), 200); len(a.body) != n {
		t.Errorf("If-Range with a weak tag: %d bytes", len(a.body))
	}
	if a := s.want(s.call("GET", path, "", "Range", "bytes=5-", "If-Range", `"other"`), 200); len(a.body) != n {
		t.Errorf("If-Range of another object: %d bytes", len(a.body))
	}
}

// TestUnreadableArchive is said by the answer, not by a connection that breaks.
func TestUnreadableArchive(t *testing.T) {
	s := start(t)
	path := "/api/v1/backups/" + s.backup() + "/download"
	for _, c := range []struct {
		err    error
		status int
	}{
		{fault.Errorf(fault.Unavailable, "No worker of the pool default is running; start one, or try again"), 503},
		{fault.Errorf(fault.BadArchive, "The archive is not at its destination any more; verify the backup"), 502},
	} {
		s.unread.Store(&c.err)
		for _, header := range []string{"", "bytes=5-"} {
			a := s.want(s.call("GET", path, "", "Range", header), c.status, fault.MessageOf(c.err))
			if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Content-Disposition") != "" || a.Header.Get("ETag") != "" {
				t.Errorf("headers %v", a.Header)
			}
		}
	}
	s.unread.Store(nil)
	s.want(s.call("GET", path, ""), 200)
}

// TestHeaders takes those of proxies for single sign-on, and refuses what is too large
// in JSON.
func TestHeaders(t *testing.T) {
	s := start(t)
	s.want(s.call("GET", "/api/v1/backups", "", "Cookie", strings.Repeat("x", 16<<10)), 200)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Not more than fills the server's buffer: a reset would overtake the answer.
	fmt.Fprintf(conn, "GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nCookie: %s", writer, strings.Repeat("x", 20<<10))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 431 || !strings.Contains(string(b), `"code":"too_large"`) {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
}

// TestBodyThatIsTooLarge announces one and sends nothing of it: the answer comes at
// once, and no reset of the connection can overtake it.
func TestBodyThatIsTooLarge(t *testing.T) {
	s := start(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", writer, 1<<20+1)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 413 || !strings.Contains(string(b), `"code":"too_large"`) || res.Header.Get("X-Request-Id") == "" {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
}

func TestPagesByCursor(t *testing.T) {
	s := start(t)
	var ids, got []string
	for range 7 {
		ids = append(ids, s.backup())
	}
	slices.Reverse(ids) // newest first
	for cursor := ""; ; {
		a := s.want(s.call("GET", "/api/v1/backups?limit=3&cursor="+cursor, ""), 200)
		var page struct {
			Backups    []struct{ ID string }
			Pagination struct {
				Total      int
				NextCursor string
			}
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || page.Pagination.Total != 7 {
			t.Fatalf("%v: %s", err, a.body)
		}
		for _, b := range page.Backups {
			got = append(got, b.ID)
		}
		if cursor = page.Pagination.NextCursor; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("got %v, want %v", got, ids)
	}
}

func FuzzCreateBody(f *testing.F) {
	for _, seed := range []string{`{"projectId":"p"}`, `{"projectId":"p","encrypt":true,"type":"full","destination":"local"}`, `[]`, `null`, `{"projectId":null}`, "{\"projectId\":\"\xff\"}", strings.Repeat("[", 10000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := start(t)
		if a := s.call("POST", "/api/v1/backups", body); a.StatusCode != 201 && (a.StatusCode < 400 || a.StatusCode > 415 || !json.Valid([]byte(a.body))) {
			t.Errorf("%q: %d %s", body, a.StatusCode, a.body)
		}
	})
}
