package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/testenv"
)

// queues is a daemon with the projects p, q and r, and a second process with workers.
type queues struct {
	*daemon
	t      *testing.T
	worker *daemon
	url    string
}

// Project p has some MB of files.
func startQueues(t *testing.T, mb int) *queues {
	t.Helper()
	dir, port := t.TempDir(), testenv.FreePort(t)
	projects := ""
	for _, id := range []string{"p", "q", "r"} {
		sh(t, dir, fmt.Sprintf("mkdir %s && head -c %dM /dev/urandom > %s/file", id, mb, id))
		mb = 1
		projects += fmt.Sprintf("{id: %s, config: {root: %s/%s, include: ['**']}}\n  - ", id, dir, id)
	}
	projects = strings.TrimSuffix(projects, "\n  - ")
	q := &queues{t: t, url: fmt.Sprintf("nats://u:secret@127.0.0.1:%d", port)}
	q.daemon = start(t, config(dir+"/data", dir+"/backups", projects, fmt.Sprintf("nats: {listen: '127.0.0.1:%d', user: u, password: secret}\n", port)))
	q.ready()
	testenv.Eventually(t, time.Minute, func() error { // ready knows p only
		if a := q.call("GET", "/projects", ""); !strings.Contains(a.body, `"id":"q"`) || !strings.Contains(a.body, `"id":"r"`) {
			return errors.New(a.body)
		}
		return nil
	})
	q.worker = start(t, config(dir+"/worker", dir+"/backups", projects, fmt.Sprintf("services: [backup, restore]\nnats: {url: '%s'}\n", q.url)))
	return q
}

// flood sends n requests for work of the project p.
func (q *queues) flood(n int, path, body string) {
	q.t.Helper()
	var clients sync.WaitGroup
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	for range 4 {
		clients.Go(func() {
			for range left {
				if a, err := q.try("POST", path, body, "Prefer", "respond-async"); err != nil || a.status != 202 {
					q.t.Errorf("%v %d %s", err, a.status, a.body)
				}
			}
		})
	}
	clients.Wait()
}

// history returns all events so far.
func (q *queues) history() (all []events.Envelope) {
	q.t.Helper()
	b, err := bus.Connect(q.t.Context(), nil, bus.Config{URL: q.url})
	if err != nil {
		q.t.Fatal(err)
	}
	defer b.Close()
	state, err := b.Log().State(q.t.Context())
	if err != nil {
		q.t.Fatal(err)
	}
	done := errors.New("done")
	ctx, cancel := context.WithTimeout(q.t.Context(), time.Minute)
	defer cancel()
	err = b.Log().Follow(ctx, 0, func(envs []events.Envelope) error {
		if all = append(all, envs...); len(all) >= int(state.Last) {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		q.t.Fatal(err)
	}
	return all
}

// waiting returns how many commands and jobs of p wait or are being handled.
func (q *queues) waiting() int {
	q.t.Helper()
	b, err := bus.Connect(q.t.Context(), nil, bus.Config{URL: q.url})
	if err != nil {
		q.t.Fatal(err)
	}
	defer b.Close()
	n, err := b.Backlog(q.t.Context(), "default", "p")
	if err != nil {
		q.t.Fatal(err)
	}
	return int(n)
}

// enqueued waits until all backups of p that have not ended are in the queue.
func (q *queues) enqueued() {
	q.t.Helper()
	testenv.Eventually(q.t, time.Minute, func() error {
		left := 0
		for _, status := range []string{"pending", "in_progress"} {
			a, err := q.try("GET", "/backups?projectId=p&limit=1&status="+status, "")
			if err != nil {
				return err
			}
			_, total, _ := strings.Cut(a.body, `"total":`)
			total, _, _ = strings.Cut(total, ",")
			n, err := strconv.Atoi(total)
			if err != nil {
				return err
			}
			left += n
		}
		if n := q.waiting(); n+4 < left { // some end meanwhile
			return fmt.Errorf("%d of %d are in the queue", n, left)
		}
		return nil
	})
}

// between returns how many events of a type and project there are from the first that
// begins to the first that ends.
func between(all []events.Envelope, project, typ string, begins, ends func(events.Envelope) bool) int {
	i := slices.IndexFunc(all, begins)
	if i < 0 {
		return -1
	}
	n := 0
	for _, e := range all[i:] {
		if ends(e) {
			return n
		}
		if e.Aggregate.Project == project && events.Name(e.Event.EventType()) == typ {
			n++
		}
	}
	return -1
}

// is returns a predicate of events.
func is(kind, id, typ string) func(events.Envelope) bool {
	return func(e events.Envelope) bool {
		return e.Aggregate.Kind == kind && e.Aggregate.ID == id && events.Name(e.Event.EventType()) == typ
	}
}

// ended waits until a backup or restore has ended well.
func (q *queues) ended(path string) {
	q.t.Helper()
	testenv.Eventually(q.t, 2*time.Minute, func() error {
		a, err := q.try("GET", path, "")
		if err == nil && !strings.Contains(a.body, `"status":"completed"`) {
			err = errors.New(a.body)
		}
		return err
	})
}

// TestFloodOfBackups lets the project p ask for 500 backups, and kills both processes.
// The projects q and r wait for one job of each of the two slots, a safety backup for
// none.
func TestFloodOfBackups(t *testing.T) {
	q := startQueues(t, 8)
	q.want(q.call("POST", "/backups", `{"projectId":"r"}`), 201)
	r := q.call("GET", "/backups?projectId=r", "").first()
	q.flood(500, "/backups", full)
	q.kill(syscall.SIGKILL)
	q.worker.kill(syscall.SIGKILL)
	q.run()
	q.worker.run()
	q.ready()
	q.enqueued()
	b := q.call("POST", "/backups", `{"projectId":"q"}`, "Prefer", "respond-async").backup()["id"].(string)
	a := q.call("POST", "/backups/"+r+"/restore", `{}`, "Prefer", "respond-async")
	q.want(a, 202)
	q.ended("/backups/" + b)
	location := strings.TrimPrefix(a.header.Get("Location"), "/api/v1")
	q.ended(location)
	id := strings.TrimPrefix(location, "/restores/")
	all := q.history()
	const slots = 2 * 2 // of two processes, in each of which a short job may begin while a request is on its way to the queue
	if n := between(all, "p", "started", is(events.KindBackup, b, "requested"), is(events.KindBackup, b, "started")); n < 0 || n > slots {
		t.Errorf("a backup of q has waited for %d of p", n)
	}
	safety := restore.SafetyID(id)
	if n := between(all, "p", "started", is(events.KindBackup, safety, "requested"), is(events.KindBackup, safety, "started")); n < 0 || n > slots {
		t.Errorf("%d backups of p began while a safety backup was started", n)
	}
	if left := q.call("GET", "/backups?projectId=p&status=pending&limit=1", "").body; strings.Contains(left, `"total":0`) {
		t.Error("the flood was over before it could be in anybody's way")
	}
	inOrder(t, all)
}

// inOrder checks that the backups of p were begun in the order in which they were
// requested, and each once, but for those that the kill has cut off.
func inOrder(t *testing.T, all []events.Envelope) {
	t.Helper()
	var requested, started []string
	completed := map[string]int{}
	for _, e := range all {
		if e.Aggregate.Project != "p" || e.Aggregate.Kind != events.KindBackup {
			continue
		}
		switch ev := e.Event.(type) {
		case events.BackupRequested:
			requested = append(requested, e.Aggregate.ID)
		case events.BackupStarted:
			if ev.Attempt == 1 {
				started = append(started, e.Aggregate.ID)
			}
		case events.BackupCompleted:
			if completed[e.Aggregate.ID]++; completed[e.Aggregate.ID] > 1 {
				t.Errorf("%s completed twice", e.Aggregate.ID)
			}
		}
	}
	for i, id := range started {
		if at := slices.Index(requested, id); at < i-4 || at > i+4 { // two run side by side, and a kill puts two back
			t.Fatalf("the backup that was begun as number %d was requested as number %d", i, at)
		}
	}
	t.Logf("%d requested, %d begun, %d completed", len(requested), len(started), len(completed))
}

// TestFloodOfVerifications lets p ask for 300 verifications and 200 dry runs. Each
// process verifies one archive at a time and does one restore or dry run.
func TestFloodOfVerifications(t *testing.T) {
	q := startQueues(t, 40)
	ids := map[string]string{}
	for _, p := range []string{"p", "q", "r"} {
		q.want(q.call("POST", "/backups", `{"projectId":"`+p+`"}`), 201)
		ids[p] = q.call("GET", "/backups?projectId="+p, "").first()
	}
	const verifications, processes = 300, 2
	q.flood(verifications, "/backups/"+ids["p"]+"/verify", "")
	before := q.waiting()
	q.want(q.call("POST", "/backups/"+ids["q"]+"/verify", ""), 200, `"status":"ok"`)
	all := q.history()
	verified := between(all, "p", "verified", func(events.Envelope) bool { return true }, is(events.KindBackup, ids["q"], "verified"))
	if done := verifications - before; before < verifications/10 || verified > done+2*processes { // some end while q asks
		t.Errorf("q was verified after %d of p; %d had ended when it asked", verified, done)
	}
	q.flood(200, "/backups/"+ids["p"]+"/restore", `{"dryRun":true}`)
	a := q.call("POST", "/backups/"+ids["r"]+"/restore", `{}`, "Prefer", "respond-async")
	location := strings.TrimPrefix(a.header.Get("Location"), "/api/v1")
	q.ended(location)
	id := strings.TrimPrefix(location, "/restores/")
	all = q.history()
	if n := between(all, "p", "started", is(events.KindRestore, id, "requested"), is(events.KindRestore, id, "started")); n < 0 || n > 2*processes { // see above
		t.Errorf("a restore of r has waited for %d dry runs of p", n)
	}
	if left := q.waiting(); left < 10 {
		t.Errorf("%d dry runs wait, so the flood was over before it could be in anybody's way", left)
	}
}

// first returns the id of the first backup of a list.
func (a answer) first() string {
	_, rest, _ := strings.Cut(a.body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}
