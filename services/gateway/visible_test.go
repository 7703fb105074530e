package gateway_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// other registers a second project.
func (s *server) other() {
	s.t.Helper()
	s.append(events.ProjectAggregate("other"), events.ProjectRegistered{Name: "Other", Pool: "default", Parts: []string{"database", "config"}, Destinations: []string{"local"}, DefaultDestination: "local"})
	s.known()
}

// known waits until the catalog knows all that the log holds.
func (s *server) known() {
	s.t.Helper()
	f, err := s.catalog.Figures(s.t.Context(), catalog.Figures{})
	for err == nil && f.Lag > 0 {
		time.Sleep(time.Millisecond)
		f, err = s.catalog.Figures(s.t.Context(), catalog.Figures{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// restored appends a restore of a backup into a project, and returns its id.
func (s *server) restored(backupProject, id, into string) string {
	a := events.RestoreAggregate(into, restore.NewID())
	s.append(a, events.RestoreRequested{Pool: "default", Backup: id, BackupProject: backupProject, Parts: []string{"config"}, BodyHash: "x"})
	s.append(a, events.RestoreStarted{Attempt: 1})
	s.append(a, events.RestoreCompleted{Attempt: 1, Warnings: []events.Warning{{Code: "w", Count: 1, Sentence: "Secret of " + into + "."}}})
	return a.ID
}

// TestLimitedKeySeesNothingElse compares what a key is answered about projects that it
// may not touch with what it is answered about projects that do not exist.
func TestLimitedKeySeesNothingElse(t *testing.T) {
	s := start(t)
	s.other()
	foreign := s.backup()
	a := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"other"}`, "X-API-Key", narrow), 201)
	mine := a.Header.Get("Location")
	theirs := s.restored("other", strings.TrimPrefix(mine, "/api/v1/backups/"), "p")
	own := s.restored("other", strings.TrimPrefix(mine, "/api/v1/backups/"), "other")
	s.known()
	same := func(method, path, body string, exists, unknown string) {
		t.Helper()
		one, two := s.call(method, strings.ReplaceAll(path, "ID", exists), strings.ReplaceAll(body, "ID", exists), "X-API-Key", narrow), s.call(method, strings.ReplaceAll(path, "ID", unknown), strings.ReplaceAll(body, "ID", unknown), "X-API-Key", narrow)
		cut := func(a answer) string { before, _, _ := strings.Cut(a.body, `"requestId"`); return before }
		if one.StatusCode != two.StatusCode || cut(one) != cut(two) || one.StatusCode < 400 && path != "/api/v1/backups?projectId=ID&stats=true" {
			t.Errorf("%s %s %s: %d %s, but of one that does not exist %d %s", method, path, body, one.StatusCode, one.body, two.StatusCode, two.body)
		}
	}
	nobody, noRestore := backup.NewID(), restore.NewID()
	for _, c := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"GET", "/download"}, {"HEAD", "/download"}, {"POST", "/verify"}, {"POST", "/cancel"}, {"POST", "/restore"}} {
		same(c[0], "/api/v1/backups/ID"+c[1], "", foreign, nobody)
	}
	same("GET", "/api/v1/restores/ID", "", theirs, noRestore)
	same("POST", "/api/v1/restores/ID/undo", "", theirs, noRestore)
	same("GET", "/api/v1/projects/ID", "", "p", "nonesuch")
	same("POST", "/api/v1/backups", `{"projectId":"ID"}`, "p", "nonesuch")
	same("POST", "/api/v1/backups", `{"projectId":"ID","type":"storage","destination":"s3"}`, "p", "nonesuch")
	same("POST", mine+"/restore", `{"targetProjectId":"ID"}`, "p", "nonesuch")
	same("GET", "/api/v1/backups?projectId=ID&stats=true", "", "p", "nonesuch")
	s.want(s.call("GET", "/api/v1/backups?stats=true", "", "X-API-Key", narrow), 200, `"total":1`, `"totalBackups":1`, mine[len("/api/v1/backups/"):])
	if a := s.want(s.call("GET", mine, "", "X-API-Key", narrow), 200, own); strings.Contains(a.body, theirs) || strings.Contains(a.body, `"p"`) {
		t.Errorf("the history shows another project: %s", a.body)
	}
	s.want(s.call("GET", mine, ""), 200, own, theirs) // the key of all projects sees both
}

// TestKeyWithoutProjects may touch none.
func TestKeyWithoutProjects(t *testing.T) {
	s := start(t)
	id := s.backup()
	s.want(s.call("GET", "/api/v1/backups?stats=true", "", "X-API-Key", nobody), 200, `"total":0`, `"totalBackups":0`, `"byDestination":{}`)
	s.want(s.call("GET", "/api/v1/projects", "", "X-API-Key", nobody), 200, `{"projects":[]}`)
	s.want(s.call("GET", "/api/v1/backups/"+id, "", "X-API-Key", nobody), 404)
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "X-API-Key", nobody), 400, "Project not found")
	if a := s.call("GET", "/api/v1/backups", ""); a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(a.Header.Get("Vary"), "X-API-Key") {
		t.Errorf("a cache may keep what one key is answered: %v", a.Header)
	}
}

// TestIdempotencyKeyBindsTheRequest repeats a key with another project, route, backup,
// target and body: each is refused, and has no effect.
func TestIdempotencyKeyBindsTheRequest(t *testing.T) {
	s := start(t)
	s.other()
	post := func(path, body, idem string) answer {
		t.Helper()
		return s.call("POST", path, body, "Idempotency-Key", idem)
	}
	first := s.want(post("/api/v1/backups", `{"projectId":"p"}`, "k"), 201).Header.Get("Location")
	if again := s.want(post("/api/v1/backups", `{"projectId":"p"}`, "k"), 201).Header.Get("Location"); again != first {
		t.Errorf("the repeat made %s, the first %s", again, first)
	}
	second := "/api/v1/backups/" + s.backup()
	const mismatch = `"code":"idempotency_mismatch"`
	s.want(post("/api/v1/backups", `{"projectId":"other"}`, "k"), 422, mismatch)
	s.want(post(first+"/restore", `{}`, "k"), 422, mismatch)
	s.want(post(first+"/verify", ``, "k"), 422, mismatch)
	s.want(post(first+"/restore", `{}`, "r"), 202)
	s.want(post(first+"/restore", `{"targetProjectId":"other"}`, "r"), 422, mismatch)
	s.want(post(second+"/restore", `{}`, "r"), 422, mismatch)
	s.want(post("/api/v1/backups", `{"projectId":"p"}`, "r"), 422, mismatch)
	s.want(post(first+"/restore", `{}`, "r"), 202)
	s.known()
	s.want(s.call("GET", "/api/v1/backups", ""), 200, `"total":2`)
	if n := s.restores.Load(); n != 2 { // the first and its repeat, as one that no worker has taken
		t.Errorf("%d commands to restore", n)
	}
	// Another API key has keys of its own.
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"other"}`, "X-API-Key", narrow, "Idempotency-Key", "k"), 201)
	for _, bad := range []string{"", "ключ", strings.Repeat("x", 256)} {
		s.want(post("/api/v1/backups", `{"projectId":"p"}`, bad), 400, "Idempotency-Key must have 1 to 255")
	}
}

// TestIdempotencyKeyRace sends one key for two projects at the same time, many times:
// one of the two wins.
func TestIdempotencyKeyRace(t *testing.T) {
	s := start(t)
	s.other()
	for i := range 20 {
		got := make(chan int, 2)
		for _, project := range []string{"p", "other"} {
			go func() {
				got <- s.call("POST", "/api/v1/backups", `{"projectId":"`+project+`"}`, "Idempotency-Key", fmt.Sprint("race", i)).StatusCode
			}()
		}
		if a, b := <-got, <-got; a+b != 201+422 {
			t.Errorf("%d and %d", a, b)
		}
	}
	s.known()
	s.want(s.call("GET", "/api/v1/backups", ""), 200, `"total":20`)
}

// TestDownloadsOfOneKey leave places for others.
func TestDownloadsOfOneKey(t *testing.T) {
	s := start(t)
	s.other()
	s.archive = make([]byte, 64<<20)
	path := "/api/v1/backups/" + s.backup() + "/download"
	other := s.want(s.call("POST", "/api/v1/backups", `{"projectId":"other"}`), 201).Header.Get("Location") + "/download"
	for range 16 {
		conn := s.dial()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", path, writer)
		if _, err := io.ReadFull(conn, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	if a := s.want(s.call("GET", path, ""), 429, "too many downloads"); a.Header.Get("Content-Disposition") != "" || a.Header.Get("ETag") != "" {
		t.Errorf("headers of an archive with an error: %v", a.Header)
	}
	s.want(s.call("HEAD", path, ""), 200)
	s.want(s.call("GET", other, "", "X-API-Key", narrow, "Range", "bytes=0-9"), 206)
}

// TestShortArchive is at its destination, but not all of it: that is said before the
// first byte.
func TestShortArchive(t *testing.T) {
	s := start(t)
	path := "/api/v1/backups/" + s.backup() + "/download"
	s.archive = s.archive[:len(s.archive)-1]
	for _, header := range []string{"", "bytes=5-", "bytes=-1"} {
		s.want(s.call("GET", path, "", "Range", header), 502, "shorter than it was stored", `"code":"archive_unreadable"`)
	}
	s.want(s.call("GET", path, "", "Range", "bytes=0-9"), 206)
}

// TestTLS notices a client that leaves, and refuses what is not HTTP, through TLS too.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := startWith(t, limits{maxWait: 10 * time.Minute, quiet: true, tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}})
	dial := func() *tls.Conn {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.base, "http://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	post := func(conn net.Conn, prefer string) {
		fmt.Fprintf(conn, "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nPrefer: %s\r\nContent-Length: 17\r\n\r\n%s", writer, prefer, `{"projectId":"p"}`)
	}
	status := func(conn net.Conn) int {
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	seen := s.endless()
	for range 256 {
		conn := dial()
		post(conn, "wait=600")
		<-seen
		conn.Close()
	}
	waitUntil(t, func() error {
		conn := dial()
		defer conn.Close()
		if post(conn, "wait=1"); status(conn) != 202 {
			return errors.New("the waits of clients that left are still counted")
		}
		return nil
	})
	conn := dial()
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	if got := status(conn); got != 431 {
		t.Errorf("status %d", got)
	}
}
