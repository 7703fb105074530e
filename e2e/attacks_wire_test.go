package e2e

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nil0 is the signal that only asks whether a process lives.
const nil0 = syscall.Signal(0)

// headerAttacks are headers that others trust.
func headerAttacks() []attack {
	get := func(name, means string, status int, headers ...string) attack {
		return attack{name: name, means: means, key: "reader", method: "GET", path: "/backups", headers: headers, status: status, lacks: []string{"forged-line"}}
	}
	override := func(header string) attack {
		return attack{name: "DELETE by " + header, means: "a key that may read deleted a backup by another name of the verb", key: "admin", method: "GET", path: "/backups/{p}", headers: []string{header, "DELETE"}, status: 200, has: []string{"{p}"}}
	}
	forwarded := func(header, value string) attack {
		return attack{name: header, means: "a client chose its address or path in the log and in the checks", method: "GET", path: "/backups", headers: []string{header, value}, status: 401}
	}
	raw := func(name, means, line string, status int) attack {
		return attack{name: name, means: means, raw: "GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nConnection: close\r\n" + line + "\r\n\r\n", status: status}
	}
	return []attack{
		get("request id with a line feed in percent", "a line of the log were forged", 200, "X-Request-Id", `a%0a{"level":"forged-line"}`),
		get("request id of JSON", "a line of the log were forged", 200, "X-Request-Id", `"},{"level":"forged-line"`),
		get("request id of 10 KiB", "a client filled the log", 200, "X-Request-Id", strings.Repeat("forged-line", 900)),
		get("Prefer of a thousand years", "a wait overflowed", 200, "Prefer", "wait=99999999999999999999"),
		get("16 KiB of cookies", "users behind a proxy for single sign-on were locked out", 200, "Cookie", strings.Repeat("x", 16<<10)),
		override("X-HTTP-Method-Override"), override("X-HTTP-Method"), override("X-Method-Override"),
		forwarded("X-Forwarded-For", "127.0.0.1"), forwarded("X-Real-IP", "127.0.0.1"), forwarded("X-Original-URL", "/healthz"), forwarded("X-Rewrite-URL", "/healthz"),
		forwarded("X-Forwarded-Prefix", "/api"), forwarded("X-Forwarded-User", "admin"), forwarded("X-Remote-User", "admin"), forwarded("Forwarded", "for=127.0.0.1;host=localhost"),
		raw("return in a header", "a header of the answer were forged", "X-Request-Id: a\rSet-Cookie: x=y", 400),
		raw("zero in a header", "a name ended early in a C library", "X-Request-Id: a\x00b", 400),
		raw("folded header", "a proxy saw another header than Holdfast", "X-A: b\r\n X-API-Key: x", 400),
		raw("blank before the colon", "a proxy saw another header than Holdfast", "X-API-Key : x", 400),
		raw("key twice", "a proxy saw another key than Holdfast", "X-API-Key: sk_live_x", 400),
		raw("header without a name", "a proxy saw another header than Holdfast", ": x", 400),
		raw("40 KiB of headers", "headers filled the memory", "X-A: "+strings.Repeat("x", 40<<10), 431),
		raw("5,000 headers", "headers filled the memory", strings.Repeat("a: b\r\n", 5000)+"c: d", 431),
		raw("host twice", "a proxy sent the request elsewhere", "Host: y", 400),
		{name: "no host", means: "a proxy sent the request elsewhere", raw: "GET /healthz HTTP/1.1\r\n\r\n", status: 400},
		{name: "host with a path", means: "a proxy sent the request elsewhere", raw: "GET /healthz HTTP/1.1\r\nHost: x/@y\r\n\r\n", status: 400},
		{name: "host of somebody else", means: "a page got past the browser by another name of this host", method: "GET", path: "/backups", headers: []string{"Host", "evil.example"}, status: 401},
		{name: "idempotency key with a line feed", means: "a header of the command were forged", raw: "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nIdempotency-Key: a\nactor: system\r\nContent-Length: 17\r\n\r\n" + full, status: 400},
		{name: "idempotency key of 256 bytes", means: "long keys filled the log", key: "admin", method: "POST", path: "/backups", body: full, headers: []string{"Idempotency-Key", strings.Repeat("k", 256)}, status: 400},
		{name: "empty idempotency key", means: "a client that wanted one backup got many", key: "admin", method: "POST", path: "/backups", body: full, headers: []string{"Idempotency-Key", ""}, status: 400},
		{name: "idempotency key that is no ASCII", means: "two keys looked alike", key: "admin", method: "POST", path: "/backups", body: full, headers: []string{"Idempotency-Key", "schlüssel"}, status: 400},
	}
}

// framingAttacks are requests of which it is uncertain where they end. Behind each there
// is a second one, which must not be answered.
func framingAttacks() []attack {
	const means = "a request hid in the body of another one's request"
	const smuggled = "GET /api/v1/backups/{p} HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nConnection: close\r\n\r\n"
	post := func(name, headers, body string, status int) attack {
		return attack{name: name, means: means, raw: "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\n" + headers + "\r\n\r\n" + body + smuggled, status: status, lacks: []string{"{p}"}}
	}
	const chunked = "Transfer-Encoding: chunked"
	const chunk = "11\r\n" + full + "\r\n0\r\n"
	return []attack{
		post("Content-Length and chunked", "Content-Length: 17\r\n"+chunked, chunk+"\r\n", 400),
		post("chunked and Content-Length", chunked+"\r\nContent-Length: 4", chunk+"\r\n", 400),
		post("two Content-Lengths", "Content-Length: 0\r\nContent-Length: 17", full, 400),
		post("two equal Content-Lengths", "Content-Length: 17\r\nContent-Length: 17", full, 400),
		post("list of Content-Lengths", "Content-Length: 17, 17", full, 400),
		post("Content-Length with a sign", "Content-Length: +17", full, 400),
		post("Content-Length below zero", "Content-Length: -1", full, 400),
		post("Content-Length in hex", "Content-Length: 0x11", full, 400),
		post("Content-Length beyond numbers", "Content-Length: 99999999999999999999", full, 400),
		post("Content-Length of 1 TiB", "Content-Length: 1099511627776", full, 413),
		post("two Transfer-Encodings", chunked+"\r\nTransfer-Encoding: identity", chunk+"\r\n", 400),
		post("Transfer-Encoding of two", "Transfer-Encoding: gzip, chunked", chunk+"\r\n", 400),
		post("Transfer-Encoding of nonsense", "Transfer-Encoding: xchunked", chunk+"\r\n", 400),
		post("Transfer-Encoding with a tab", "Transfer-Encoding:\x0b chunked", chunk+"\r\n", 400),
		post("identity and a body", "Transfer-Encoding: identity", full, 400),
		post("chunk of nonsense", chunked, "xyz\r\n"+full+"\r\n0\r\n\r\n", 400),
		post("chunk below zero", chunked, "-11\r\n"+full+"\r\n0\r\n\r\n", 400),
		post("chunk beyond numbers", chunked, "fffffffffffffffff\r\n"+full+"\r\n0\r\n\r\n", 400),
		post("chunk of 2 GiB", chunked, "7fffffff\r\n"+full+"\r\n0\r\n\r\n", 413),
		post("key behind the body", chunked, chunk+"X-API-Key: {admin}\r\n\r\n", 400),
		post("Idempotency-Key behind the body", chunked, chunk+"Idempotency-Key: x\r\n\r\n", 400),
		{name: "chunked in HTTP/1.0", means: means, raw: "POST /api/v1/backups HTTP/1.0\r\nX-API-Key: {admin}\r\nConnection: keep-alive\r\n" + chunked + "\r\n\r\n" + chunk + "\r\n" + smuggled, status: 400, lacks: []string{"{p}"}},
		{name: "lines without a return", means: means, raw: "GET /healthz HTTP/1.1\nHost: x\n\n" + smuggled, status: 400, lacks: []string{"{p}"}},
		{name: "blank in the address", means: means, raw: "GET /healthz HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, status: 400, lacks: []string{"{p}"}},
		{name: "HTTP/2 without TLS", means: "two protocols were mixed up", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 505},
		{name: "HTTP/3.7", means: "two protocols were mixed up", raw: "GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n" + smuggled, status: 505, lacks: []string{"{p}"}},
		{name: "TLS to the plain port", means: "two protocols were mixed up", raw: "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", status: 400},
		{name: "body of a GET", means: means, raw: "GET /api/v1/projects/none HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nContent-Length: 41\r\n\r\nGET /api/v1/backups HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", status: 404, has: []string{`{"status":"ok"}`}, lacks: []string{`"backups"`}},
		{name: "two requests at once", means: "the second of two requests took the key of the first", raw: "GET /api/v1/projects HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\n\r\nGET /api/v1/backups/{p} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", status: 200, has: []string{`"code":"unauthenticated"`}, lacks: []string{"restoreHistory"}},
	}
}

// pathAttacks are addresses that lead elsewhere.
func pathAttacks() []attack {
	raw := func(name, means, target string, status int) attack {
		return attack{name: name, means: means, raw: "GET " + target + " HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nConnection: close\r\n\r\n", status: status, lacks: []string{"root:", "restoreHistory"}}
	}
	const files, past = "files of the host were read", "a rule of a proxy for this path was got round"
	var all []attack
	for _, id := range []string{"../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "..", ".", "%00", "{p}%00", "{p}%0d%0aX-A:%20b", "{p}.json", "{p}%2fdownload", "{p};x", "{p}%20", "BACKUP-AAAAAAAAAAAAAAAAAAAAAAAAAA", "backup-%D0%B0aaaaaaaaaaaaaaaaaaaaaaaaa", "backup-" + strings.Repeat("a", 8000), "backup-*", "*", "%3E", "backup-0000000000000000000000000!", "-1", "null"} {
		all = append(all, raw("id "+brief(id), files, "/api/v1/backups/"+id, 404))
	}
	return append(all,
		raw("project ..", files, "/api/v1/projects/..%2fp", 404),
		raw("project with a wildcard", "a wildcard reached all subjects of the log", "/api/v1/projects/%3E", 404),
		raw("two slashes", past, "//api/v1/backups", 400),
		raw("another host's name before the path", past, "//evil.example/api/v1/backups", 400),
		raw("backslashes", past, `/api\v1\backups`, 400),
		raw("route in capitals", past, "/API/v1/backups", 404),
		raw("noun in capitals", past, "/api/v1/Backups", 404),
		raw("no slash", past, "api/v1/backups", 400),
		raw("fragment", past, "/healthz#/api/v1/backups", 400),
		raw("control character", past, "/api/v1/\x01backups", 400),
		raw("encoded slash", past, "/api%2fv1%2fbackups", 404),
		raw("dots to another route", past, "/healthz/../api/v1/backups", 404),
		raw("encoded dots", past, "/api/v1/%2e%2e/v1/backups", 404),
		raw("configuration of the daemon", files, "/holdfast.yaml", 404),
		raw("profiles of the daemon", "memory with keys in it was read", "/debug/pprof/heap", 404),
		raw("variables of the daemon", "the environment with passwords was read", "/debug/vars", 404),
	)
}

func brief(s string) string { return s[:min(len(s), 40)] }

// downloadAttacks are ranges and validators.
func downloadAttacks() []attack {
	get := func(name, means, header, value string, status int) attack {
		return attack{name: name, means: means, key: "admin", method: "GET", path: "/backups/{p}/download", headers: []string{header, value}, status: status}
	}
	const cut, load = "a client took a piece for the whole", "a range took the server's memory"
	return []attack{
		get("range beyond numbers", cut, "Range", "bytes=99999999999999999999-", 416),
		get("range to the end of numbers", cut, "Range", "bytes=0-9223372036854775807", 206),
		get("suffix beyond numbers", cut, "Range", "bytes=-99999999999999999999", 206),
		get("suffix of nothing", cut, "Range", "bytes=-0", 416),
		get("range backwards", cut, "Range", "bytes=5-4", 416),
		get("range behind the end", cut, "Range", "bytes=999999999-", 416),
		get("range below zero", cut, "Range", "bytes=--5", 416),
		get("range of nonsense", cut, "Range", "bytes=a-b", 416),
		get("a thousand ranges", load, "Range", "bytes=0-0"+strings.Repeat(",0-", 1000), 200),
		get("range of lines", cut, "Range", "lines=1-2", 200),
		get("If-Range of another object", cut, "If-Range", `"x"`, 200),
		get("star for a tag", "a cache were told that it has what it has not", "If-None-Match", `"*"`, 200),
		{name: "HEAD with a range", means: cut, key: "admin", method: "HEAD", path: "/backups/{p}/download", headers: []string{"Range", "bytes=0-0"}, status: 200},
		{name: "redirect to a stranger", means: "a link to Holdfast led to another site", key: "admin", method: "GET", path: "/backups/{p}/download?redirect=https://evil.example/", status: 400},
		{name: "redirect twice", means: "a proxy saw another parameter than Holdfast", key: "admin", method: "GET", path: "/backups/{p}/download?redirect=false&redirect=true", status: 400},
		{name: "archive that is gone", means: "a download of nothing were green", do: func(t *testing.T, v *victim) {
			a := v.call("POST", "/backups", full)
			v.want(a, 201)
			path := a.backup()["path"].(string)
			id := a.backup()["id"].(string)
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			v.want(v.call("GET", "/backups/"+id+"/download", ""), 502, "not at its destination any more")
			b, err := os.ReadFile(path + ".away")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b[:len(b)-1], 0o600); err != nil {
				t.Fatal(err)
			}
			a = v.call("GET", "/backups/"+id+"/download", "")
			v.want(a, 502, `"code":"archive_unreadable"`)
		}},
	}
}

// hostAttacks are on the machine and its ports.
func hostAttacks() []attack {
	return []attack{
		{name: "slow headers", means: "a few slow clients kept all others out", do: func(t *testing.T, v *victim) {
			for range 100 {
				_, _ = io.WriteString(v.dial(t), "GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-A: ")
			}
			v.want(v.call("GET", "/backups?limit=1", ""), 200)
		}},
		{name: "slow body", means: "a few slow clients kept all others out", do: func(t *testing.T, v *victim) {
			for range 100 {
				_, _ = io.WriteString(v.dial(t), v.fill(attack{}, "POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-API-Key: {admin}\r\nContent-Length: 17\r\n\r\n{"))
			}
			v.want(v.call("GET", "/backups?limit=1", ""), 200)
		}},
		{name: "connections that say nothing", means: "strangers took the descriptors that backups need", do: func(t *testing.T, v *victim) {
			var open []net.Conn
			for range 2300 {
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", v.port))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				open = append(open, conn)
			}
			last := open[len(open)-1]
			_ = last.SetReadDeadline(time.Now().Add(30 * time.Second))
			res, err := http.ReadResponse(bufio.NewReader(last), nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 503 {
				t.Errorf("status %d", res.StatusCode)
			}
			for _, conn := range open {
				conn.Close()
			}
			deadline := time.Now().Add(30 * time.Second)
			for {
				a, err := v.try("POST", "/backups", full)
				if err == nil && a.status == 201 {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%v %v", a, err)
				}
			}
		}},
		{name: "no descriptors left", means: "strangers ended the daemon, and the backups that ran", do: func(t *testing.T, v *victim) {
			pid := v.cmd.Process.Pid
			fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
			if err != nil {
				t.Fatal(err)
			}
			var before unix.Rlimit
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
				t.Fatal(err)
			}
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(fds) + 4), Max: before.Max}, nil); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
					t.Error(err)
				}
			}()
			for range 50 {
				_, _ = io.WriteString(v.dial(t), "GET /healthz HTTP/1.1\r\nHost: x\r\n")
			}
			v.wantLog(t, "connections cannot be accepted")
		}},
		{name: "after no descriptors were left", means: "strangers ended the daemon, and the backups that ran", do: func(t *testing.T, v *victim) {
			deadline := time.Now().Add(time.Minute)
			for {
				a, err := v.try("POST", "/backups", full)
				if err == nil && a.status == 201 {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%v %v", a, err)
				}
			}
		}},
		{name: "ports", means: "strangers wrote to the event log without a key", do: func(t *testing.T, v *victim) {
			for _, port := range listening(t, v.cmd.Process.Pid) {
				if port != v.port {
					t.Errorf("the daemon listens on port %d too", port)
				}
			}
		}},
		{name: "files of the daemon", means: "other users of the machine read the log, or the hash of the admin key", do: func(t *testing.T, v *victim) {
			fi, err := os.Stat(v.dir + "/data")
			if err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("data_dir has mode %v, %v", fi.Mode(), err)
			}
			_ = filepath.WalkDir(v.dir+"/backups", func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					t.Error(err)
				} else if fi, err := d.Info(); err == nil && fi.Mode().Perm()&0o007 != 0 {
					t.Errorf("%s has mode %v", path, fi.Mode())
				}
				return nil
			})
		}},
		{name: "socket of the daemon", means: "other users of the machine wrote to the event log", do: func(t *testing.T, v *victim) {
			_ = filepath.WalkDir(v.dir+"/data", func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type()&fs.ModeSocket != 0 {
					if fi, err := d.Info(); err == nil && fi.Mode().Perm()&0o077 != 0 {
						t.Errorf("%s has mode %v", path, fi.Mode())
					}
				}
				return nil
			})
		}},
		{name: "metrics with a key in the address", means: "keys were written into series that anybody reads", do: func(t *testing.T, v *victim) {
			v.suffer(t, attack{name: "unknown route", method: "GET", path: "//" + apiKey, status: 404})
			if page := v.metrics(); strings.Contains(page, apiKey) || strings.Contains(page, "BREW") {
				t.Error("a client chooses the series")
			}
		}},
	}
}

// wantLog waits until the log of the victim has a text.
func (v *victim) wantLog(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(v.config + ".log")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log", text)
		}
	}
}

// listening returns the TCP ports on which a process listens.
func listening(t *testing.T, pid int) (ports []int) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("the descriptors of the daemon cannot be read: %v", err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !mine[f[9]] {
				continue
			}
			var port int
			_, address, _ := strings.Cut(f[1], ":")
			if _, err := fmt.Sscanf(address, "%X", &port); err != nil {
				t.Fatal(err)
			}
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		t.Error("the daemon listens nowhere")
	}
	return ports
}
