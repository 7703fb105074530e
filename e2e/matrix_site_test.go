package e2e

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/testenv"
)

// site is a project of functions with processes and a NATS server of its own. The
// processes that work reach the server through a proxy, which stops them at an event.
type site struct {
	t       *testing.T // of the row
	all     *testing.T // of all rows: processes end with it
	dir     string
	victim  string
	nats    *testenv.NATSProcess
	proxy   *testenv.NATSProxy
	log     *follower // past the proxy
	gateway *daemon
	worker  *daemon // the gateway's process too, if the victim is the whole daemon
	backup  string  // id of a backup
}

// Victims of the matrix.
const (
	victimWorker = "worker"
	victimDaemon = "daemon"
	victimNATS   = "nats"
)

// newSite starts the processes and makes a backup, after which the project is changed.
func newSite(t *testing.T, binary, victim, keepOld string) *site {
	t.Helper()
	n := testenv.NATSAlone(t, binary, t.TempDir())
	s := &site{t: t, all: t, dir: t.TempDir(), victim: victim, nats: n, proxy: testenv.ProxyNATS(t, n)}
	if victim == victimDaemon {
		s.gateway = s.process("daemon", "gateway, catalog, backup, restore", s.proxy.URL, keepOld)
		s.worker = s.gateway
	} else {
		s.gateway = s.process("gateway", "gateway, catalog", n.URL, keepOld)
		s.worker = s.process("worker", "backup, restore", s.proxy.URL, keepOld)
	}
	s.log = follow(t, n.URL)
	s.write("backed up")
	s.gateway.ready()
	s.backup = s.newBackup()
	s.write("changed")
	return s
}

// process starts a process. Its commands around a restore fail or wait while a file of
// that name is there, and say by another one whether the services are stopped.
func (s *site) process(name, services, url, keepOld string) *daemon {
	s.t.Helper()
	hooks := fmt.Sprintf(`{before: "cd %[1]s; touch stopped; test ! -e fail || exit 1; while test -e wait; do sleep 0.1; done", after: "rm -f %[1]s/stopped"}`, s.dir)
	return start(s.t, config(filepath.Join(s.dir, name), s.dir+"/backups", fmt.Sprintf("{id: p, functions: {path: %s/functions}, restore: %s}", s.dir, hooks),
		fmt.Sprintf("services: [%s]\nnats: {url: %q}\nrestore: {keep_old: %s}\n", services, url, keepOld)))
}

// in lets the failures of what follows be those of t.
func (s *site) in(t *testing.T) { s.t, s.gateway.t, s.worker.t = t, t, t }

func (s *site) write(content string) {
	s.t.Helper()
	name := s.dir + "/functions/main/index.ts"
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) is(content string) error {
	if b, err := os.ReadFile(s.dir + "/functions/main/index.ts"); err != nil || string(b) != content {
		return fmt.Errorf("the functions are %q, %w; want %q", b, err, content)
	}
	return nil
}

// flag makes or removes a file by which the test talks with the commands around a
// restore.
func (s *site) flag(name string, there bool) {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.dir, name)) // it need not be there
	if there {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// until asks until the answer is one of those that are wanted: a status and a word.
func (s *site) until(ask func() (answer, error), want ...string) answer {
	s.t.Helper()
	var a answer
	testenv.Eventually(s.t, 2*time.Minute, func() (err error) {
		if a, err = ask(); err != nil {
			return err
		}
		for _, w := range want {
			status, word, _ := strings.Cut(w, " ")
			if status == fmt.Sprint(a.status) && strings.Contains(a.body, word) {
				return nil
			}
		}
		return fmt.Errorf("status %d, want one of %q: %s", a.status, want, a.body)
	})
	return a
}

// newBackup makes a backup.
func (s *site) newBackup() string {
	s.t.Helper()
	key := fmt.Sprint(time.Now().UnixNano())
	a := s.until(func() (answer, error) { return s.gateway.try("POST", "/backups", full, "Idempotency-Key", key) }, "201 completed")
	return a.backup()["id"].(string)
}

// newRestore restores the backup, and returns when it has completed, or at once.
func (s *site) newRestore(wait bool) string {
	s.t.Helper()
	prefer, want := "respond-async", "202"
	if wait {
		prefer, want = "wait=60", "200 completed"
	}
	key := fmt.Sprint(time.Now().UnixNano())
	a := s.until(func() (answer, error) {
		return s.gateway.try("POST", "/backups/"+s.backup+"/restore", `{"safetyBackup":false}`, "Idempotency-Key", key, "Prefer", prefer)
	}, want)
	return a.restore(s.t).ID
}

// kill ends the victim at once and starts it again.
func (s *site) kill() {
	s.t.Helper()
	if s.victim == victimNATS {
		s.nats.Kill(s.t)
		s.proxy.Break()
		s.nats.Restart(s.all)
		return
	}
	s.worker.kill(syscall.SIGKILL)
	s.proxy.Break()
	s.worker.run()
}

// pastEvents are what a log says, by aggregate.
type pastEvents map[events.Aggregate][]events.Event

// follower keeps up with a log.
type follower struct {
	log *bus.Log

	mu   sync.Mutex
	all  pastEvents
	last events.Revision
}

// follow keeps up with a log until the test ends.
func follow(t *testing.T, url string) *follower {
	t.Helper()
	b, err := bus.Connect(t.Context(), nil, bus.Config{URL: url, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{log: b.Log(), all: pastEvents{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for t.Context().Err() == nil {
			_ = f.log.Follow(t.Context(), f.last, f.take) // the server may be away
			time.Sleep(100 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		<-ended
		b.Close()
	})
	return f
}

func (f *follower) take(envs []events.Envelope) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, env := range envs {
		f.all[env.Aggregate] = append(f.all[env.Aggregate], env.Event)
		f.last = env.Revision
	}
	return nil
}

// history returns all events of the log.
func (f *follower) history() (pastEvents, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	state, err := f.log.State(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last < state.Last {
		return nil, fmt.Errorf("followed the log to %s of %s", f.last, state.Last)
	}
	all := pastEvents{}
	for a, list := range f.all {
		all[a] = slices.Clone(list)
	}
	return all, nil
}

// settled returns an error unless every job has one end and nothing else is left of it
// than the log says.
func (s *site) settled() error {
	all, err := s.log.history()
	if err != nil {
		return err
	}
	objects, folders, files := []string{}, []string{}, []string{}
	for a, history := range all {
		switch a.Kind {
		case events.KindBackup:
			b := fold[backup.State](history)
			if n := ends(history); n != 1 {
				err = errors.Join(err, fmt.Errorf("%s has %d ends", a.ID, n))
			}
			if b.Completed != nil && !b.Deleted {
				objects = append(objects, b.Completed.Key, backup.SidecarKey(b.Completed.Key))
			}
		case events.KindRestore:
			r := fold[restore.State](history)
			if n := ends(history); n != 1 || r.Undoing {
				err = errors.Join(err, fmt.Errorf("%s has %d ends; undoing %v", a.ID, n, r.Undoing))
			}
			files = append(files, a.ID+".jsonl")
			if r.Keeps() {
				folders = append(folders, ".holdfast-old-"+events.ShortID(a.ID), ".holdfast-undone-"+events.ShortID(a.ID))
				files = append(files, a.ID+".project.json", a.ID+".functions.swap", a.ID+".kept")
			}
		case events.KindSlot:
			if h := fold[backup.Slot](history).Holders; len(h) > 0 {
				err = errors.Join(err, fmt.Errorf("the slot is held by %v", h))
			}
		}
	}
	if _, serr := os.Stat(s.dir + "/stopped"); serr == nil {
		err = errors.Join(err, errors.New("the services were stopped and not started again"))
	}
	return errors.Join(err, missing("destination", s.dir+"/backups", objects), extra("destination", s.dir+"/backups", objects),
		extra("project", s.dir+"/functions", append(folders, "main/index.ts")), extra("data_dir", s.restores(), files))
}

// restores returns where the worker keeps files of its restores.
func (s *site) restores() string {
	name := "worker"
	if s.victim == victimDaemon {
		name = "daemon"
	}
	return filepath.Join(s.dir, name, "restores")
}

// fold returns what events add up to.
func fold[S events.State[S]](history []events.Event) (s S) {
	for i, e := range history {
		s = s.Apply(events.Envelope{Event: e, Revision: events.Revision(i + 1), Time: time.Unix(int64(i)+1, 0)})
	}
	return s
}

// ends counts the events that end a job.
func ends(history []events.Event) (n int) {
	for _, e := range history {
		switch e := e.(type) {
		case events.BackupCompleted, events.BackupCancelled, events.RestoreCompleted, events.RestoreCancelled:
			n++
		case events.BackupFailed:
			if e.Final {
				n++
			}
		case events.RestoreFailed:
			if e.Final {
				n++
			}
		}
	}
	return n
}

// extra names what lies below a folder, apart from what may: files, or folders with all
// that they hold.
func extra(what, dir string, may []string) (err error) {
	for _, name := range below(dir) {
		if !slices.ContainsFunc(may, func(m string) bool { return name == m || strings.HasPrefix(name, m+"/") }) {
			err = errors.Join(err, fmt.Errorf("%s: %s is left behind", what, name))
		}
	}
	return err
}

// missing names what should lie below a folder and does not.
func missing(what, dir string, must []string) (err error) {
	all := below(dir)
	for _, name := range must {
		if !slices.Contains(all, name) {
			err = errors.Join(err, fmt.Errorf("%s: %s is missing", what, name))
		}
	}
	return err
}

// below lists the files and empty folders below a folder. Where backups of a project
// and a month lie, a folder may be empty.
func below(dir string) (names []string) {
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if name, rerr := filepath.Rel(dir, path); err == nil && rerr == nil && (!e.IsDir() || strings.HasPrefix(e.Name(), ".holdfast-")) {
			names = append(names, name)
		}
		return nil
	})
	return names
}
