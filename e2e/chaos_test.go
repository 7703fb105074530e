package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/testenv"
)

var (
	chaosTime = flag.Duration("chaos", 0, "how long TestChaos lasts; 0 leaves it out")
	chaosSeed = flag.Uint64("seed", 0, "seed of TestChaos; 0 takes one of the clock")
)

// chaos is a set of processes on a cluster, to which everything happens.
type chaos struct {
	t       *testing.T
	rnd     *rand.Rand
	nodes   []*testenv.NATSProcess
	gateway *daemon
	workers []*daemon
	url     string
	dir     string

	mu   sync.Mutex
	jobs map[string]*job // by id of the backup
}

// job is a backup that was acknowledged.
type job struct {
	key     string // its Idempotency-Key
	deleted bool   // the deletion was acknowledged
}

// TestChaos kills, stops and hangs processes and servers while backups are made, deleted
// and cancelled. Afterwards every acknowledged backup has one end, what completed is
// there and whole, and nothing else is left.
func TestChaos(t *testing.T) {
	if *chaosTime == 0 {
		t.Skip("make chaos runs it: it needs the machine for itself")
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./e2e -run TestChaos -chaos %s -seed %d", *chaosTime, seed)
	c := newChaos(t, seed)
	ctx, stop := context.WithTimeout(t.Context(), *chaosTime)
	defer stop()
	var clients sync.WaitGroup
	for n := range 3 {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)+1))
		clients.Go(func() { c.client(ctx, rnd, n) })
	}
	for ctx.Err() == nil {
		c.fault()
	}
	clients.Wait()
	c.settle()
	c.check()
}

func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	c := &chaos{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), nodes: testenv.NATSProcesses(t), dir: t.TempDir(), jobs: map[string]*job{}}
	c.url = testenv.URLs(c.nodes)
	sh(t, c.dir, "mkdir src && for i in 1 2 3 4 5 6 7 8; do head -c 200000 /dev/urandom > src/$i; done")
	c.gateway = c.process("gateway", "gateway, catalog")
	for n := range 2 {
		c.workers = append(c.workers, c.process(fmt.Sprint("worker", n), "backup, restore"))
	}
	c.gateway.ready()
	return c
}

func (c *chaos) process(name, services string) *daemon {
	c.t.Helper()
	return start(c.t, config(c.dir+"/"+name, c.dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", c.dir),
		fmt.Sprintf("services: [%s]\nnats: {url: %q, replicas: 3}\n", services, c.url)))
}

// client asks for things until ctx ends.
func (c *chaos) client(ctx context.Context, rnd *rand.Rand, n int) {
	for i := 0; ctx.Err() == nil; i++ {
		switch rnd.IntN(5) {
		case 0:
			c.end("DELETE", "")
		case 1:
			c.end("POST", "/cancel")
		default:
			key := fmt.Sprintf("%d-%d", n, i)
			for ctx.Err() == nil && !c.create(key) { // a repeat is the same backup
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

// create asks for a backup and reports whether that was acknowledged.
func (c *chaos) create(key string) bool {
	a, err := c.gateway.try("POST", "/backups", full, "Idempotency-Key", key, "Prefer", "wait=5")
	if err != nil || a.status != 201 && a.status != 202 && a.status != 500 {
		return false
	}
	if a.status == 500 && !strings.Contains(a.body, `"backup_failed"`) {
		c.t.Errorf("%s", a.body)
	}
	if id, ok := a.backup()["id"].(string); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if j := c.jobs[id]; j != nil && j.key != key {
			c.t.Errorf("%s was made for the keys %s and %s", id, j.key, key)
		}
		if c.jobs[id] == nil {
			c.jobs[id] = &job{key: key}
		}
	}
	return true
}

// end deletes or cancels some backup.
func (c *chaos) end(method, path string) {
	c.mu.Lock()
	id := ""
	for id = range c.jobs { // any
		break
	}
	c.mu.Unlock()
	if id == "" {
		return
	}
	a, err := c.gateway.try(method, "/backups/"+id+path, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
	case method == "DELETE" && a.status == 200:
		c.jobs[id].deleted = true
	case a.status == 404 && !c.jobs[id].deleted && method == "POST": // a deletion whose answer was lost makes it so
	case a.status == 500:
		c.t.Errorf("%s %s: %s", method, path, a.body)
	}
}

// fault does something bad, for a while.
func (c *chaos) fault() {
	c.t.Helper()
	pause := func(least, most int) { time.Sleep(time.Duration(least+c.rnd.IntN(most-least)) * time.Millisecond) }
	w := c.workers[c.rnd.IntN(len(c.workers))]
	n := c.nodes[c.rnd.IntN(len(c.nodes))]
	switch c.rnd.IntN(8) {
	case 0, 1:
		w.kill(syscall.SIGKILL)
		pause(10, 500)
		w.run()
	case 2:
		_ = w.cmd.Process.Signal(syscall.SIGSTOP)
		pause(500, 4000)
		_ = w.cmd.Process.Signal(syscall.SIGCONT)
	case 3:
		c.gateway.kill(syscall.SIGKILL)
		pause(10, 500)
		c.gateway.run()
	case 4:
		n.Hang(c.t)
		pause(1000, 9000)
		n.Continue(c.t)
	case 5:
		n.Kill(c.t)
		pause(100, 1000)
		n.Restart(c.t)
	case 6:
		w.kill(syscall.SIGTERM)
		w.run()
	case 7:
		gone := [][2]string{{"HOLDFAST_EVENTS", "backup-default"}, {"HOLDFAST_JOBS", "backup-default-job=p"}, {"HOLDFAST_COMMANDS", "backup-default-create=p"}, {"HOLDFAST_COMMANDS", "backup-default-delete=p"}}[c.rnd.IntN(4)]
		testenv.DeleteConsumer(c.t, c.url, gone[0], gone[1])
	}
	pause(200, 2500)
}

// settle waits until everything that was asked for has ended.
func (c *chaos) settle() {
	c.t.Helper()
	testenv.Eventually(c.t, 3*time.Minute, func() error {
		for _, status := range []string{"pending", "in_progress"} {
			a, err := c.gateway.try("GET", "/backups?limit=1&status="+status, "")
			if err != nil {
				return err
			}
			if !strings.Contains(a.body, `"total":0`) {
				return fmt.Errorf("%s", a.body)
			}
		}
		for id, j := range c.jobs {
			a, err := c.gateway.try("GET", "/backups/"+id, "")
			if err != nil || a.status != 200 && a.status != 404 || strings.Contains(a.body, `"status":"pending"`) {
				return fmt.Errorf("%s of the key %s: %w %s", id, j.key, err, a.body)
			}
		}
		return nil
	})
}

// check checks what must always hold.
func (c *chaos) check() {
	c.t.Helper()
	b, err := bus.Connect(c.t.Context(), nil, bus.Config{URL: c.url, Replicas: 3})
	if err != nil {
		c.t.Fatal(err)
	}
	defer b.Close()
	if err := b.Examine(c.t.Context()); err != nil || b.Damage() != nil {
		c.t.Errorf("the log: %v, %v", err, b.Damage())
	}
	stored := map[string]bool{}
	count := map[string]int{}
	for id, j := range c.jobs {
		s, ends := c.history(b.Log(), id)
		if !s.Exists() || ends != 1 {
			c.t.Errorf("%s of the key %s: %d ends, state %+v", id, j.key, ends, s)
		}
		if j.deleted && !s.Deleted {
			c.t.Errorf("%s: a deletion was acknowledged and is not in the log", id)
		}
		switch {
		case s.Deleted:
			count["deleted"]++
		case s.Completed != nil:
			count["completed"]++
			stored[s.Completed.Key], stored[backup.SidecarKey(s.Completed.Key)] = true, true
			c.gateway.want(c.gateway.call("POST", "/backups/"+id+"/verify", ""), 200, `"status":"ok"`)
		default:
			count["failed"]++
		}
	}
	c.t.Logf("%d backups: %v", len(c.jobs), count)
	if len(c.jobs) == 0 {
		c.t.Error("nothing was made")
	}
	if slot, err := b.Log().Last(c.t.Context(), events.SlotAggregate("p")); err != nil || len((backup.Slot{}).Apply(slot).Holders) != 0 {
		c.t.Errorf("slot %+v, %v", slot.Event, err)
	}
	c.left(stored)
	c.rebuilt()
}

// history returns what the log says of a backup, and how many ends it has.
func (c *chaos) history(log events.Log, id string) (s backup.State, ends int) {
	c.t.Helper()
	for env, err := range log.Read(c.t.Context(), events.BackupAggregate("p", id), 0) {
		if err != nil {
			c.t.Fatal(err)
		}
		s = s.Apply(env)
		switch e := env.Event.(type) {
		case events.BackupCompleted, events.BackupCancelled:
			ends++
		case events.BackupFailed:
			if e.Final {
				ends++
			}
		}
	}
	return s, ends
}

// left checks that the destination holds what the log says, and nothing else that a
// sweep would not remove.
func (c *chaos) left(stored map[string]bool) {
	c.t.Helper()
	for _, path := range objects(c.t, c.dir+"/backups") {
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			c.t.Error(err)
		}
	}
	c.workers[0].command("sweep")
	var got []string
	for _, path := range objects(c.t, c.dir+"/backups") {
		key, err := filepath.Rel(c.dir+"/backups", path)
		if err != nil {
			c.t.Fatal(err)
		}
		if !stored[key] {
			got = append(got, key)
		}
		delete(stored, key)
	}
	if len(got) > 0 || len(stored) > 0 {
		c.t.Errorf("left behind: %v; missing: %v", got, stored)
	}
}

// rebuilt compares the catalog with one that is built from the log.
func (c *chaos) rebuilt() {
	c.t.Helper()
	list := func(d *daemon) (ids []string) {
		var page struct{ Backups []json.RawMessage }
		if err := json.Unmarshal([]byte(d.call("GET", "/backups?limit=500", "").body), &page); err != nil {
			c.t.Fatal(err)
		}
		for _, b := range page.Backups {
			ids = append(ids, string(b))
		}
		return ids
	}
	before := list(c.gateway)
	c.gateway.kill(syscall.SIGTERM)
	fresh := c.process("fresh", "gateway, catalog")
	fresh.ready()
	if after := list(fresh); !slices.Equal(before, after) {
		c.t.Errorf("the catalog says\n%s\nbuilt anew it says\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}
