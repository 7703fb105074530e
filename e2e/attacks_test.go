package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// An attack is a request that must not do what its sender wants. To add some, add
// rows to one of the lists in attackRows, or a list of your own. In method, path, body,
// headers and raw these words stand for what the target has:
//
//	{p} {o}    ids of completed backups of the projects p and o
//	{rp} {ro}  ids of completed restores into p and o
//	{no}       id of a backup that does not exist
//	{key}      the key that field key names
//	{admin}    a key that may do all
type attack struct {
	name    string
	means   string // what it would have meant, had it worked
	key     string // a name of attackKeys; "" sends none
	method  string
	path    string // below /api/v1, or from the root if it begins with //
	body    string
	headers []string // names and values in turn
	raw     string   // instead of all these: bytes as they are

	status int
	has    []string // words that the answer has
	lacks  []string // words that it has not
	do     func(t *testing.T, v *victim)
}

// attackKeys are the API keys of the victim and what they may do.
var attackKeys = map[string]string{
	"admin":   apiKey,
	"reader":  "sk_live_readerreaderreaderreaderreader1",
	"limited": "sk_live_limitedlimitedlimitedlimited001", // may write, but only to o
	"peeper":  "sk_live_peeperpeeperpeeperpeeperpeeper1", // may read o only
	"idle":    "sk_live_idleidleidleidleidleidleidleid1", // may do nothing
	"expired": "sk_live_expiredexpiredexpiredexpired001",
	"wrong":   "sk_live_wrongwrongwrongwrongwrongwrong1", // is not in the configuration
}

// attackRows is the table. The later rows find the victim as the earlier ones left it,
// and it must be as before.
func attackRows() []attack {
	var all []attack
	for _, rows := range [][]attack{keyAttacks(), routeAttacks(), projectAttacks(), bodyAttacks(), queryAttacks(), headerAttacks(), framingAttacks(), pathAttacks(), downloadAttacks(), effectAttacks(), hostAttacks(), lateAttacks()} {
		all = append(all, rows...)
	}
	return all
}

// victim is a daemon with two projects, each with a backup and a restore.
type victim struct {
	*daemon
	dir     string
	words   map[string]string
	expires time.Time // of the key "expired"
	slow    net.Conn  // on which a request began at the start
}

// TestAttacks makes every attack of the table on the real daemon.
func TestAttacks(t *testing.T) {
	v := newVictim(t)
	rows := attackRows()
	if len(rows) < 120 {
		t.Errorf("%d attacks, want 120 at least", len(rows))
	}
	names := map[string]bool{}
	for _, a := range rows {
		if names[a.name] || a.means == "" {
			t.Errorf("the attack %q needs a name of its own and what it would have meant", a.name)
		}
		names[a.name] = true
		t.Run(a.name, func(t *testing.T) { v.suffer(t, a) })
	}
	t.Logf("%d attacks", len(rows))
	v.unharmed(t)
}

func newVictim(t *testing.T) *victim {
	dir := t.TempDir()
	sh(t, dir, "mkdir -p p o && echo secret-of-p > p/a.env && echo secret-of-o > o/a.env")
	two := fmt.Sprintf("{id: p, config: {root: %[1]s/p, include: ['**']}}\n  - {id: o, config: {root: %[1]s/o, include: ['**']}}", dir)
	v := &victim{dir: dir, expires: time.Now().Add(30 * time.Second).UTC().Truncate(time.Second)}
	more := ""
	for _, k := range []struct{ name, may string }{
		{"reader", "permissions: {backups: read}"},
		{"limited", "permissions: {backups: write}, projects: [o]"},
		{"peeper", "permissions: {backups: read}, projects: [o]"},
		{"idle", "permissions: {backups: none}"},
		{"expired", "permissions: {backups: write}, expires: " + v.expires.Format(time.RFC3339)},
	} {
		more += fmt.Sprintf("  - {name: %s, hash: \"sha256:%x\", %s}\n", k.name, sha256.Sum256([]byte(attackKeys[k.name])), k.may)
	}
	v.daemon = start(t, strings.Replace(config(dir+"/data", dir+"/backups", two, more), `"127.0.0.1:PORT"`, `"127.0.0.1:PORT", max_wait: 30s`, 1))
	v.ready()
	v.words = map[string]string{"no": "backup-" + strings.Repeat("a", 26), "admin": apiKey}
	for _, project := range []string{"p", "o"} {
		b := v.call("POST", "/backups", `{"projectId":"`+project+`"}`)
		v.want(b, 201)
		id := b.backup()["id"].(string)
		r := v.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false}`)
		v.want(r, 200)
		var out struct{ Restore struct{ ID string } }
		if err := json.Unmarshal([]byte(r.body), &out); err != nil {
			t.Fatal(err)
		}
		v.words[project], v.words["r"+project] = id, out.Restore.ID
	}
	v.slow = v.dial(t)
	_, _ = io.WriteString(v.slow, "GET /api/v1/backups HTTP/1.1\r\nHost: x\r\nX-A: ")
	return v
}

// fill puts the victim's words into a text.
func (v *victim) fill(a attack, s string) string {
	s = strings.ReplaceAll(s, "{key}", attackKeys[a.key])
	for word, is := range v.words {
		s = strings.ReplaceAll(s, "{"+word+"}", is)
	}
	return s
}

// suffer makes an attack.
func (v *victim) suffer(t *testing.T, a attack) {
	if a.do != nil {
		a.do(t, v)
		return
	}
	var status int
	var body string
	if a.raw != "" {
		status, body = v.raw(t, v.fill(a, a.raw))
	} else {
		status, body = v.request(t, a)
	}
	if status != a.status {
		t.Errorf("%s: status %d, want %d: %.300s\nit would have meant: %s", a.name, status, a.status, body, a.means)
	}
	if a.status >= 400 && a.method != http.MethodHead && !strings.HasPrefix(body, `{"success":false,"error":"`) {
		t.Errorf("%s: not JSON: %.300s", a.name, body)
	}
	for _, word := range a.has {
		if word = v.fill(a, word); !strings.Contains(body, word) {
			t.Errorf("%s: %q is not in %.300s\nit would have meant: %s", a.name, word, body, a.means)
		}
	}
	for _, word := range append(a.lacks, "sk_live_", "goroutine", "secret-of-p") {
		if word = v.fill(a, word); strings.Contains(body, word) {
			t.Errorf("%s: %q is in %.300s\nit would have meant: %s", a.name, word, body, a.means)
		}
	}
}

// request sends an attack as a client of HTTP would.
func (v *victim) request(t *testing.T, a attack) (status int, body string) {
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v1%s", v.port, v.fill(a, a.path))
	if root, ok := strings.CutPrefix(a.path, "//"); ok {
		url = fmt.Sprintf("http://127.0.0.1:%d/%s", v.port, v.fill(a, root))
	}
	req, err := http.NewRequestWithContext(t.Context(), a.method, url, strings.NewReader(v.fill(a, a.body)))
	if err != nil {
		t.Fatal(err)
	}
	if a.key != "" {
		req.Header.Set("X-API-Key", attackKeys[a.key])
	}
	if a.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(a.headers); i += 2 {
		req.Header.Set(a.headers[i], v.fill(a, a.headers[i+1]))
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute}
	resp, err := client.Do(req)
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

// dial opens a connection to the victim.
func (v *victim) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", v.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// raw sends bytes and returns all answers to them: the status of the first, and the
// bodies. The server must close the connection.
func (v *victim) raw(t *testing.T, request string) (status int, bodies string) {
	conn := v.dial(t)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			if status == 0 {
				t.Fatalf("no answer: %v", err)
			}
			return status, bodies
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if status == 0 {
			status = res.StatusCode
		}
		bodies += string(b)
	}
}

// unharmed looks whether the victim is as it was before the attacks.
func (v *victim) unharmed(t *testing.T) {
	if err := v.cmd.Process.Signal(nil0); err != nil {
		t.Fatalf("the daemon is gone: %v", err)
	}
	for _, project := range []string{"p", "o"} {
		b := v.call("GET", "/backups/"+v.words[project], "")
		v.want(b, 200, `"status":"completed"`)
		if n := strings.Count(b.body, `"restoredAt"`); n != 2 { // of newVictim, and of the row about the history
			t.Errorf("%s: %d restores in the history, want 2: %s", project, n, b.body)
		}
		if got, err := os.ReadFile(v.dir + "/" + project + "/a.env"); err != nil || string(got) != "secret-of-"+project+"\n" {
			t.Errorf("the file of %s is now %q, %v", project, got, err)
		}
	}
	log, err := os.ReadFile(v.config + ".log")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), `"msg":"request refused","service":"gateway","status":431`) {
		t.Error("headers that are too large leave no line in the log")
	}
	for line := range strings.Lines(string(log)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %.200s", line)
		}
		for name, key := range attackKeys {
			if strings.Contains(line, key) {
				t.Errorf("the key %s is in the log: %.200s", name, line)
			}
		}
		if strings.Contains(line, "forged-line") && strings.HasPrefix(line, `{"level":"forged`) {
			t.Errorf("a line of the log is forged: %.200s", line)
		}
	}
}
