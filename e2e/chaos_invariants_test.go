package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// check checks what must always hold: every acknowledged job has one end; what completed
// is there and verifies, unless the log says that it was deleted; nothing else is left at
// the destination, in the database server, the folders of the projects and those of the
// processes; the projects hold what they held; the catalog is that which the log makes;
// and the processes are as busy as new ones.
func (c *chaos) check() {
	c.t.Helper()
	h, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	c.logf("%s", h.summary())
	if len(h.backups) == 0 {
		c.t.Error("nothing was made")
	}
	for id := range maps.Keys(h.ends) {
		if h.ends[id] != 1 {
			c.t.Errorf("%s has %d ends", id, h.ends[id])
		}
	}
	for id := range c.deleted {
		if !h.backups[id].Deleted {
			c.t.Errorf("%s: a deletion was acknowledged and is not in the log", id)
		}
	}
	for id, s := range h.backups {
		if s.Completed != nil && !s.Deleted {
			c.gateway.want(c.gateway.call("POST", "/backups/"+id+"/verify", ""), 200, `"status":"ok"`)
		}
	}
	c.left(h.stored())
	if after := c.contents(); !maps.Equal(after, c.before) {
		c.t.Errorf("the projects hold\n%v\nand not\n%v", after, c.before)
	}
	c.rebuilt(h)
	c.goroutines()
}

// left checks that the destination holds what belongs to backups, and nothing else that a
// sweep would not remove, and that restores have left nothing.
func (c *chaos) left(stored map[string]bool) {
	c.t.Helper()
	for _, path := range objects(c.t, c.backups()) {
		old := time.Now().Add(-48 * time.Hour) // a sweep leaves alone what is new
		if err := os.Chtimes(path, old, old); err != nil {
			c.t.Error(err)
		}
	}
	swept := c.daemons[slices.Index(c.names, "backup")].command("sweep")
	var got []string
	for _, path := range objects(c.t, c.backups()) {
		key, err := filepath.Rel(c.backups(), path)
		if err != nil {
			c.t.Fatal(err)
		}
		if !stored[key] {
			got = append(got, key)
		}
		delete(stored, key)
	}
	if len(got) > 0 || len(stored) > 0 {
		c.t.Errorf("left behind: %v; missing: %v; the sweep says %s", got, stored, swept)
	}
	for i, name := range c.names {
		dir := filepath.Join(c.dir, fmt.Sprintf("%s%d", name, i))
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && name != "catalog" && path != dir && !strings.HasSuffix(path, "/restores") && !strings.HasSuffix(path, ".jsonl") {
				c.t.Errorf("left behind: %s", path)
			}
			return nil
		})
	}
}

// shown returns what the gateway says of all backups and restores.
func (c *chaos) shown(h history) map[string]string {
	c.t.Helper()
	out := map[string]string{"projects": c.gateway.call("GET", "/projects", "").body}
	var page struct{ Backups []json.RawMessage }
	if err := json.Unmarshal([]byte(c.gateway.call("GET", "/backups?limit=500", "").body), &page); err != nil {
		c.t.Fatal(err)
	}
	for i, b := range page.Backups {
		out[fmt.Sprint("row ", i)] = string(b)
	}
	for id := range h.backups {
		out[id] = c.body("/backups/" + id)
	}
	for id := range h.restores {
		out[id] = c.body("/restores/" + id)
	}
	return out
}

// body returns an answer without the id of the request.
func (c *chaos) body(path string) string {
	c.t.Helper()
	a := c.gateway.call("GET", path, "")
	body, _, _ := strings.Cut(a.body, `,"requestId"`)
	return fmt.Sprint(a.status, " ", body)
}

// rebuilt compares what the catalogs say with what one says that is built from the log.
func (c *chaos) rebuilt(h history) {
	c.t.Helper()
	before := c.shown(h)
	for range 3 { // each catalog has its turn
		c.same("another time", before, c.shown(h))
	}
	for i, name := range c.names {
		if name == "catalog" {
			c.daemons[i].kill(syscall.SIGTERM)
		}
	}
	fresh := c.process("catalog")
	c.gateway.ready()
	c.same("built anew", before, c.shown(h))
	fresh.kill(syscall.SIGTERM)
	for i, name := range c.names {
		if name == "catalog" {
			c.daemons[i].run()
		}
	}
	c.gateway.ready()
}

func (c *chaos) same(when string, want, got map[string]string) {
	c.t.Helper()
	for id := range want {
		if got[id] != want[id] {
			c.t.Errorf("the catalog says\n%s\nand %s\n%s", want[id], when, got[id])
		}
	}
	if len(got) != len(want) {
		c.t.Errorf("the catalog knows %d things and %s %d", len(want), when, len(got))
	}
}

// goroutines compares the goroutines of the processes with those of new ones.
func (c *chaos) goroutines() {
	c.t.Helper()
	c.gateway.client.CloseIdleConnections()
	time.Sleep(12 * time.Second) // idle connections of the gateway end after 10 s
	used := c.dumps()
	for _, d := range c.daemons {
		d.run()
	}
	c.gateway.ready()
	c.gateway.client.CloseIdleConnections()
	time.Sleep(12 * time.Second)
	fresh := c.dumps()
	for i := range c.daemons {
		if used[i] > fresh[i]+20 {
			c.t.Errorf("%s%d has %d goroutines, a new one has %d", c.names[i], i, used[i], fresh[i])
		}
	}
	c.logf("goroutines %v, of new processes %v", used, fresh)
	for _, d := range c.daemons {
		d.run()
	}
	c.gateway.ready()
}

// dumps ends the processes with SIGQUIT and counts the goroutines that they list.
func (c *chaos) dumps() (counts []int) {
	c.t.Helper()
	for _, d := range c.daemons {
		d.kill(syscall.SIGQUIT)
		log, err := os.ReadFile(d.config + ".log")
		if err != nil {
			c.t.Fatal(err)
		}
		all := string(log)
		counts = append(counts, strings.Count(all[strings.LastIndex(all, "SIGQUIT: quit"):], "\ngoroutine "))
	}
	return counts
}

// damage flips bytes in the log of one server of three. The cluster repairs that, or
// Holdfast says it.
func (c *chaos) damage() {
	c.t.Helper()
	before, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	n := c.nodes[c.plan.damaged]
	n.Kill(c.t)
	c.flip(n)
	n.Restart(c.t)
	testenv.LeadBy(c.t, c.nodes, eventStream, n.Name)
	c.eventually(2*time.Minute, func() error {
		after, err := c.read()
		if err != nil {
			if c.saysDamage() {
				c.logf("the damage of %s is said", n.Name)
				return nil
			}
			return err
		}
		if !slices.Equal(before.events, after.events) {
			return fmt.Errorf("the log had %d events and has %d, and nothing says so", len(before.events), len(after.events))
		}
		c.logf("the damage of %s is repaired", n.Name)
		return nil
	})
}

// saysDamage reports whether /readyz says that the log is damaged.
func (c *chaos) saysDamage() bool {
	resp, err := c.gateway.client.Get(c.gateway.url("/readyz"))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(b), "Until then nothing is written")
}
