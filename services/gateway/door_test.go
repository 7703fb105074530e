package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// dial opens a connection to the gateway.
func (s *server) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// raw sends bytes as they are and returns the first answer, and whether the server
// closed the connection behind it.
func (s *server) raw(request string) (a answer, closed bool) {
	s.t.Helper()
	conn := s.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatalf("%.60q: %v", request, err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = r.ReadByte()
	return answer{res, string(b)}, errors.Is(err, io.EOF)
}

// TestMalformedRequests sends what proxies and servers read in different ways: each is
// refused in JSON, and nothing behind it on the connection is read.
func TestMalformedRequests(t *testing.T) {
	s := start(t)
	head := "Host: x\r\nX-API-Key: " + writer + "\r\n"
	post := "POST /api/v1/backups HTTP/1.1\r\n" + head + "Content-Type: application/json\r\n"
	body := `{"projectId":"p"}`
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"lengths that differ":    {post + "Content-Length: 3\r\nContent-Length: 17\r\n\r\n" + body, 400},
		"lengths that are alike": {post + "Content-Length: 17\r\nContent-Length: 17\r\n\r\n" + body, 400},
		"length and chunked":     {post + "Content-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n" + body + "\r\n0\r\n\r\n", 400},
		"length with a sign":     {post + "Content-Length: +17\r\n\r\n" + body, 400},
		"two lengths in one":     {post + "Content-Length: 17, 17\r\n\r\n" + body, 400},
		"unknown coding":         {post + "Transfer-Encoding: gzip, chunked\r\n\r\n11\r\n" + body + "\r\n0\r\n\r\n", 400},
		"coding with a tab":      {post + "Transfer-Encoding: \x0bchunked\r\n\r\n11\r\n" + body + "\r\n0\r\n\r\n", 400},
		"chunked in 1.0":         {strings.Replace(post, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n11\r\n" + body + "\r\n0\r\n\r\n", 400},
		"chunk without size":     {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + "\r\n0\r\n\r\n", 400},
		"headers behind":         {post + "Transfer-Encoding: chunked\r\n\r\n11\r\n" + body + "\r\n0\r\nIdempotency-Key: k\r\n\r\n", 400},
		"a key behind":           {strings.Replace(post, "X-API-Key: "+writer+"\r\n", "", 1) + "Transfer-Encoding: chunked\r\n\r\n11\r\n" + body + "\r\n0\r\nX-API-Key: " + writer + "\r\n\r\n", 400},
		"two keys":               {"GET /api/v1/backups HTTP/1.1\r\n" + head + "x-api-key: " + reader + "\r\n\r\n", 400},
		"no host":                {"GET /healthz HTTP/1.1\r\n\r\n", 400},
		"two hosts":              {"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		"a host with a path":     {"GET /healthz HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400},
		"folded header":          {"GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-A: b\r\n X-API-Key: " + writer + "\r\n\r\n", 400},
		"space before the colon": {"GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key : " + writer + "\r\n\r\n", 400},
		"bare line feeds":        {"GET /healthz HTTP/1.1\nHost: x\n\n", 400},
		"a zero in a header":     {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", 400},
		"a return in a header":   {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\rX-API-Key: b\r\n\r\n", 400},
		"no colon":               {"GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400},
		"space in the address":   {"GET /healthz HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"two slashes":            {"GET //api/v1/backups HTTP/1.1\r\n" + head + "\r\n", 400},
		"no slash":               {"GET api/v1/backups HTTP/1.1\r\n" + head + "\r\n", 400},
		"HTTP/2 preface":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"method of signs":        {"GE(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"not HTTP":               {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"headers of 40 KiB":      {"GET /healthz HTTP/1.1\r\n" + head + "Cookie: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431},
		"headers of 4 MiB":       {"GET /healthz HTTP/1.1\r\n" + head + "Cookie: " + strings.Repeat("x", 4<<20) + "\r\n\r\n", 431},
		"a body of 8 MiB":        {post + fmt.Sprintf("Content-Length: %d\r\n\r\n", 8<<20) + strings.Repeat("x", 8<<20), 413},
		"a chunk of 8 MiB":       {post + "Transfer-Encoding: chunked\r\n\r\n800000\r\n" + strings.Repeat("x", 8<<20), 413},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			// What a smuggler would have behind it.
			a, closed := s.raw(c.request + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			s.want(a, c.status, `{"success":false,"error":"`, `"requestId":"`)
			if !closed {
				t.Error("the connection goes on")
			}
			if a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", a.Header)
			}
		})
	}
	s.t = t
	s.want(s.call("GET", "/metrics", ""), 200, `holdfast_http_requests_total{method="OTHER",route="none",status="4xx"}`)
	s.want(s.call("GET", "/api/v1/backups", ""), 200, `"total":0`) // none of them had an effect
}

// TestPipelinedRequests are answered in their order, each with its own key.
func TestPipelinedRequests(t *testing.T) {
	s := start(t)
	conn := s.dial()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for range 3 {
		fmt.Fprintf(conn, "GET /api/v1/projects HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\nGET /api/v1/projects HTTP/1.1\r\nHost: x\r\n\r\n", writer)
	}
	r := bufio.NewReader(conn)
	for i := range 6 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if want := []int{200, 401}[i%2]; res.StatusCode != want {
			t.Errorf("answer %d has status %d, want %d", i, res.StatusCode, want)
		}
	}
}

// TestUnknownMethods get the answer of their route.
func TestUnknownMethods(t *testing.T) {
	s := start(t)
	for _, method := range []string{"BREW", "get", "PROPFIND", "PATCH", "OPTIONS", "TRACE"} {
		a := s.want(s.call(method, "/api/v1/backups", ""), 405, `"code":"method_not_allowed"`)
		if allow := a.Header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "POST") || strings.Contains(allow, "OTHER") {
			t.Errorf("%s: Allow %q", method, allow)
		}
		s.want(s.call(method, "/api/v1/backups", "", "X-API-Key", ""), 401, `"code":"unauthenticated"`)
		s.want(s.call(method, "/api/v1/nonesuch", ""), 404, `"code":"not_found"`)
	}
	if page := s.call("GET", "/metrics", "").body; strings.Contains(page, "BREW") {
		t.Error("a client can make as many time series as it likes")
	}
}

// TestEncodedBodies are refused before they are decoded.
func TestEncodedBodies(t *testing.T) {
	s := start(t)
	var bomb, twice bytes.Buffer
	for _, z := range []struct {
		to   *bytes.Buffer
		from []byte
	}{{&bomb, make([]byte, 64<<20)}, {&twice, nil}} {
		w := gzip.NewWriter(z.to)
		if z.from == nil {
			z.from = bomb.Bytes()
		}
		_, _ = w.Write(z.from)
		_ = w.Close()
	}
	id := s.backup()
	for _, path := range []string{"/api/v1/backups", "/api/v1/backups/" + id + "/restore", "/api/v1/backups/" + id + "/verify"} {
		for _, encoding := range []string{"gzip", "GZIP", "gzip, gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip"} {
			s.want(s.call("POST", path, twice.String(), "Content-Encoding", encoding), 415, `"code":"unsupported_media_type"`, "without Content-Encoding")
		}
	}
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Content-Encoding", "identity"), 201)
}

// TestFieldsAreExact refuses what could mean another thing than it says.
func TestFieldsAreExact(t *testing.T) {
	s := start(t)
	path := "/api/v1/backups/" + s.backup()
	for _, c := range []struct{ path, body, word string }{
		{"/api/v1/backups", `{"projectId":"p","encrypt":true,"encrypt":false}`, `field \"encrypt\" twice`},
		{"/api/v1/backups", `{"projectId":"p","encrypt":true,"encr\u0079pt":false}`, `field \"encrypt\" twice`},
		{"/api/v1/backups", `{"projectId":"p","encrypt":true,"Encrypt":false}`, `write \"encrypt\"`},
		{"/api/v1/backups", `{"projectId":"p","ENCRYPT":true}`, `write \"encrypt\"`},
		{"/api/v1/backups", "{\"projectId\":\"p\",\"encr\u1d67pt\":true}", `unknown field`},
		{"/api/v1/backups", `{"projectId":"p","":true}`, `unknown field \"\"`},
		{"/api/v1/backups", `{"projectId":"p","encrypt":"true"}`, `\"encrypt\" must be true or false`},
		{"/api/v1/backups", `{"projectId":"p","type":["full"]}`, `\"type\" must be a text`},
		{"/api/v1/backups", `{"projectId":{"a":1,"a":2}}`, `field \"a\" twice`},
		{"/api/v1/backups", `{"projectId":` + strings.Repeat("9", 500_000) + `}`, "must be a text"},
		{"/api/v1/backups", `[{"projectId":"p"}]`, "not a JSON object"},
		{"/api/v1/backups", `null`, "not a JSON object"},
		{"/api/v1/backups", "{\"projectId\":\"p\xff\"}", "not UTF-8"},
		{"/api/v1/backups", strings.Repeat(`{"projectId":`, 9000) + "1" + strings.Repeat("}", 9000), "must be a text"},
		{"/api/v1/backups", strings.Repeat("[", 500_000), "not a JSON object"},
		{path + "/restore", `{"forceRestore":false,"forceRestore":true}`, "twice"},
		{path + "/restore", `{"DryRun":true}`, `write \"dryRun\"`},
		{path + "/restore", `{"restoreTypes":"database"}`, "must be a list of texts"},
		{path + "/restore", `null`, "not a JSON object"},
		{path + "/verify", `{"deep":true}`, "it has no fields"},
		{path + "/cancel", `[]`, "not a JSON object"},
	} {
		s.want(s.call("POST", c.path, c.body), 400, c.word, `"code":"invalid_request"`)
	}
	s.want(s.call("DELETE", path, `{"dryRun":true}`), 400, "unknown field")
	for _, q := range []string{"projectId=p&projectId=other", "limit=1&limit=2", "status=failed&status=completed", "stats=true&stats=false", "cursor=&cursor=x", "createdAfter=2026-01-19T02:00:00Z&createdAfter=2026-01-19T02:00:00Z"} {
		s.want(s.call("GET", "/api/v1/backups?"+q, ""), 400, "is there twice")
	}
	s.want(s.call("GET", path+"/download?redirect=yes", ""), 400, "redirect must be one of")
	s.want(s.call("GET", "/api/v1/backups", ""), 200, `"total":1`)
}

// TestBodyWithoutKey announces a body and sends nothing of it: without a key no memory
// is kept for it.
func TestBodyWithoutKey(t *testing.T) {
	s := start(t)
	for _, key := range []string{"", "X-API-Key: " + stale + "\r\n", "Authorization: Bearer nonsense\r\n"} {
		a, closed := s.raw("POST /api/v1/backups HTTP/1.1\r\nHost: x\r\n" + key + "Content-Length: 1000000\r\n\r\n")
		s.want(a, 401, `"code":"unauthenticated"`)
		if !closed || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("closed: %v, headers %v", closed, a.Header)
		}
		a, _ = s.raw("POST /api/v1/backups HTTP/1.1\r\nHost: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\nf0000\r\n")
		s.want(a, 413, "16 KiB without a valid API key")
	}
	s.want(s.call("POST", "/api/v1/backups", strings.Repeat(" ", 1<<20), "X-API-Key", writer), 400)
}

// TestClientThatReadsNothing asks for more than the buffers hold, and takes none of it.
func TestClientThatReadsNothing(t *testing.T) {
	s := startWith(t, limits{conns: 8})
	http.DefaultClient.CloseIdleConnections()
	for range 4 {
		conn := s.dial()
		go func() {
			_, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 2000)) // until the server reads no more
		}()
	}
	waitUntil(t, func() error {
		res, err := http.Get(s.base + "/healthz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return nil
	})
}

// TestConnectionLimit fills all places for connections of an address: who comes then is
// told so, and those who leave make room.
func TestConnectionLimit(t *testing.T) {
	s := startWith(t, limits{conns: 16})
	http.DefaultClient.CloseIdleConnections()
	var open []net.Conn
	for range 8 {
		open = append(open, s.dial())
	}
	waitUntil(t, func() error {
		conn := s.dial()
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err // it got a place
		}
		defer res.Body.Close()
		var p struct{ Code string }
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil || res.StatusCode != 503 || p.Code != "unavailable" {
			return fmt.Errorf("status %d, %+v, %w", res.StatusCode, p, err)
		}
		return nil
	})
	for _, conn := range open {
		conn.Close()
	}
	waitUntil(t, func() error {
		res, err := http.Get(s.base + "/healthz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return nil
	})
}

// waitUntil calls f until it returns nil, for half a minute at most.
func waitUntil(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hold sends a POST that waits for its backup, and returns once the worker has it.
func (s *server) hold(key string, seen <-chan struct{}) net.Conn {
	s.t.Helper()
	conn := s.dial()
	body := `{"projectId":"p"}`
	fmt.Fprintf(conn, "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body)
	<-seen
	return conn
}

// endless makes the worker accept backups and never end them.
func (s *server) endless() <-chan struct{} {
	seen := make(chan struct{}, 1024)
	s.work = func(c backup.Create) error { s.accept(c); seen <- struct{}{}; return nil }
	return seen
}

// TestWaitsOfOneKey take at most half of the places, and requests that do not wait are
// never refused.
func TestWaitsOfOneKey(t *testing.T) {
	s := startWith(t, limits{maxWait: 10 * time.Minute, quiet: true})
	s.append(events.ProjectAggregate("other"), events.ProjectRegistered{Name: "Other", Pool: "default", Parts: []string{"config"}, Destinations: []string{"local"}, DefaultDestination: "local"})
	seen := s.endless()
	for range 256 {
		s.hold(writer, seen)
	}
	waitUntil(t, func() error {
		if a := s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=1"); a.StatusCode != 429 || !strings.Contains(a.body, `"code":"rate_limited"`) || a.Header.Get("Retry-After") == "" {
			return fmt.Errorf("one too many: %d %s", a.StatusCode, a.body)
		}
		return nil
	})
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "respond-async"), 202)
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=0"), 202)
	// Another key waits as if there were nobody.
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"other"}`, "X-API-Key", narrow, "Prefer", "wait=1"), 202, `"status":"in_progress"`)
}

// TestClientThatLeavesFreesItsWait takes all places of a key and leaves, with bytes of
// another request behind the first.
func TestClientThatLeavesFreesItsWait(t *testing.T) {
	s := startWith(t, limits{maxWait: 10 * time.Minute, quiet: true})
	seen := s.endless()
	var open []net.Conn
	for range 256 {
		open = append(open, s.hold(writer, seen))
	}
	s.want(s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=1"), 429)
	for i, conn := range open {
		if i%2 == 0 {
			fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		conn.Close()
	}
	waitUntil(t, func() error {
		if a := s.call("POST", "/api/v1/backups", `{"projectId":"p"}`, "Prefer", "wait=1"); a.StatusCode != 202 {
			return fmt.Errorf("%d %s", a.StatusCode, a.body)
		}
		return nil
	})
	// Who closes only its sending half still hears where the backup is.
	conn := s.hold(writer, seen)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 202 || !strings.HasPrefix(res.Header.Get("Location"), "/api/v1/backups/backup-") {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
