package worker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

// bench is a worker on a log in memory, with a project of functions and
// configuration and a backup of it that is fetched from memory.
type bench struct {
	t          *testing.T
	log        *eventstest.Log
	reads      *eventstest.Faulty // by which the worker reads the log
	w          *worker.Worker
	a          events.Aggregate
	root       string // of the project
	services   string // folder of its services, if it has some
	create     restore.Create
	archive    []byte
	backup     project.Project       // as it was backed up
	recipients []age.Recipient       // for whom the archive is encrypted, if not empty
	plainSize  int                   // of the archive before encryption
	size       int                   // to which it is filled up, if not 0
	older      bool                  // the backup is of a version that did not keep the sum of the manifest
	seen       func(events.Event)    // is told what the worker has appended
	fetch      func(context.Context) // is called before each read of the archive
}

// told is a log that tells what was appended.
type told struct {
	events.Log
	b *bench
}

func (l told) Append(ctx context.Context, a events.Aggregate, expected events.Revision, e events.Event, c events.Cause) (events.Envelope, error) {
	env, err := l.Log.Append(ctx, a, expected, e, c)
	if err == nil && l.b.seen != nil {
		l.b.seen(e)
	}
	return env, err
}

// stubborn is a part that cannot be swapped.
type stubborn struct{ project.Part }

func (s stubborn) Restoration(t project.Target) project.Restoration {
	return unswapped{s.Part.Restoration(t)}
}

type unswapped struct{ project.Restoration }

func (unswapped) Swap(context.Context) error { return errors.New("it is mounted") }

func newBench(t *testing.T, change ...func(*worker.Config)) *bench {
	t.Helper()
	return newBenchWith(t, func(string) {}, change...)
}

// newBenchWith lets more be backed up.
func newBenchWith(t *testing.T, more func(root string), change ...func(*worker.Config)) *bench {
	t.Helper()
	return newBenchOf(&bench{t: t}, more, change...)
}

// newBenchOf makes a bench whose settings are chosen.
func newBenchOf(b *bench, more func(root string), change ...func(*worker.Config)) *bench {
	t, root := b.t, b.t.TempDir()
	t.Helper()
	b.log, b.root, b.a = &eventstest.Log{}, root, events.RestoreAggregate("p", restore.NewID())
	b.reads = eventstest.NewFaulty(b.log)
	b.write("functions/main/index.ts", "backed up")
	b.write("config/.env", "A=backed up")
	more(root)
	p := project.Project{Parts: []project.Part{
		&project.FunctionsPart{Path: filepath.Join(root, "functions")},
		&project.ConfigPart{Root: filepath.Join(root, "config"), Include: []string{".env*"}},
	}}
	backupID := backup.NewID()
	b.backup = p
	completed := b.pack(backupID)
	for i, e := range []events.Event{
		events.BackupRequested{Pool: "default", Type: backup.Full, Destination: "local"}, events.BackupStarted{Attempt: 1, Worker: "w"}, completed,
	} {
		if _, err := b.log.Append(t.Context(), events.BackupAggregate("p", backupID), events.Revision(i), e, events.Cause{}); err != nil {
			t.Fatal(err)
		}
	}
	b.write("functions/main/index.ts", "changed")
	b.write("config/.env", "A=changed")
	c := worker.Config{
		Pool: "default", Name: "w", Projects: []worker.Project{{ID: "p", Resolve: project.Fixed(p)}}, Dir: t.TempDir(), KeepOld: time.Hour, Logger: zap.NewNop(),
		Fetch: func(ctx context.Context, _ string, q backup.ArchiveRead) ([]byte, error) {
			if b.fetch != nil {
				b.fetch(ctx)
			}
			n := int64(len(b.archive))
			return b.archive[min(q.Offset, n):min(q.Offset+q.Length, n)], nil
		},
		Send: func(context.Context, events.Command, events.Cause) error {
			return errors.New("no safety backup was asked for")
		},
	}
	for _, f := range change {
		f(&c)
	}
	b.w = worker.New(c, told{b.reads, b})
	b.create = restore.Create{
		ID: b.a.ID, Project: "p", Pool: "default", Backup: backupID, BackupProject: "p", Parts: []string{project.Functions, project.Config}, BodyHash: "h",
	}
	return b
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	name = filepath.Join(b.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o600)); err != nil {
		b.t.Fatal(err)
	}
}

// pack makes the archive of a backup.
func (b *bench) pack(id string) events.BackupCompleted {
	b.t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Header{ID: id, Project: "p", Type: backup.Full, CreatedAt: time.Now()})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, part := range b.backup.Parts {
		if err := w.Begin(part.Name()); err != nil {
			b.t.Fatal(err)
		}
		if _, err := part.Dump(b.t.Context(), &project.Session{}, w); err != nil {
			b.t.Fatal(err)
		}
	}
	m, err := w.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	b.plainSize = out.Len()
	b.archive = b.encrypt(b.fill(out.Bytes()))
	sum := sha256.Sum256(b.archive)
	done := events.BackupCompleted{
		Attempt: 1, Pool: "default", Key: "k", Size: int64(len(b.archive)), SHA256: hex.EncodeToString(sum[:]), ManifestSHA256: m.SHA256, Encrypted: len(b.recipients) > 0,
	}
	if b.older {
		done.ManifestSHA256 = ""
	}
	for _, x := range m.Parts {
		done.Parts = append(done.Parts, events.Part{Name: x.Name, Bytes: x.Bytes, Entries: x.Entries})
	}
	return done
}

// fill makes an archive as large as the first one, so that its end is where the log
// says that it is.
func (b *bench) fill(plain []byte) []byte {
	b.t.Helper()
	const trailer = 34
	if b.size == 0 {
		return plain
	}
	if len(plain) > b.size {
		b.t.Fatalf("the forged archive has %d bytes, more than %d", len(plain), b.size)
	}
	end := len(plain) - trailer
	return slices.Concat(plain[:end], make([]byte, b.size-len(plain)), plain[end:])
}

func (b *bench) encrypt(plain []byte) []byte {
	b.t.Helper()
	if len(b.recipients) == 0 {
		return plain
	}
	var out bytes.Buffer
	to, err := age.Encrypt(&out, b.recipients...)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = to.Write(plain)
	if err := errors.Join(err, to.Close()); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

// request asks for the restore and returns the event that starts it.
func (b *bench) request() events.Envelope {
	b.t.Helper()
	if err := b.w.Create(b.t.Context(), &b.create, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
	env, err := b.log.Last(b.t.Context(), b.a)
	if err != nil {
		b.t.Fatal(err)
	}
	return env
}

func (b *bench) state() (s restore.State) {
	for env := range b.log.Read(b.t.Context(), b.a, 0) {
		s = s.Apply(env)
	}
	return s
}

// is says what the project's files hold.
func (b *bench) is(when, want string) {
	b.t.Helper()
	for name, prefix := range map[string]string{"functions/main/index.ts": "", "config/.env": "A="} {
		got, err := os.ReadFile(filepath.Join(b.root, name))
		if err != nil || string(got) != prefix+want {
			b.t.Errorf("%s: %s is %q, %v", when, name, got, err)
		}
	}
}

// alone says that the slot is free and nothing hidden is left but what is kept.
func (b *bench) alone(kept ...string) {
	b.t.Helper()
	var s backup.Slot
	for env := range b.log.Read(b.t.Context(), events.SlotAggregate("p"), 0) {
		s = s.Apply(env)
	}
	if len(s.Holders) != 0 {
		b.t.Errorf("the slot is held by %v", s.Holders)
	}
	var left []string
	for _, part := range []string{"functions", "config"} {
		all, err := filepath.Glob(filepath.Join(b.root, part, ".holdfast-*"))
		if err != nil {
			b.t.Fatal(err)
		}
		for _, name := range all {
			left = append(left, strings.Split(filepath.Base(name), "-")[1])
		}
	}
	if !slices.Equal(left, kept) {
		b.t.Errorf("left behind: %v, want %v", left, kept)
	}
}

func TestRestoreAndUndo(t *testing.T) {
	b := newBench(t)
	env := b.request()
	for range 2 { // the second delivery finds it done
		if err := b.w.Handle(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	s := b.state()
	if s.Completed == nil || s.Attempt != 1 || !slices.Equal(s.Stages, []string{restore.Built, restore.Safe, restore.Ready}) || !s.Keeps() {
		t.Fatalf("state %+v", s)
	}
	b.is("after the restore", "backed up")
	b.alone("old", "old")
	undo := restore.Undo{ID: b.a.ID, Project: "p", Pool: "default"}
	for range 2 {
		if err := b.w.Undo(t.Context(), &undo, events.Cause{}); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.state(); !s.Undone {
		t.Errorf("state %+v", s)
	}
	b.is("after the undo", "changed")
	b.alone("undone", "undone")
}

func TestDryRun(t *testing.T) {
	b := newBench(t)
	b.create.DryRun = true
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	s := b.state()
	if s.Completed == nil || s.Completed.Plan == nil || len(s.Completed.Plan.Replaces) != 2 || !slices.ContainsFunc(s.Completed.Plan.Checks, func(c events.RestoreCheck) bool { return c.Name == "archive" && c.OK }) {
		t.Errorf("state %+v", s)
	}
	b.is("after a dry run", "changed")
	b.alone()
}

// TestTheBackupsWarningsAreSaidAgain by a restore and by a dry run, for the parts that
// are restored.
func TestTheBackupsWarningsAreSaidAgain(t *testing.T) {
	for _, dry := range []bool{false, true} {
		b := newBenchWith(t, func(root string) {
			if err := errors.Join(os.Symlink("/etc", filepath.Join(root, "functions/etc")), syscall.Mkfifo(filepath.Join(root, "functions/pi\xffpe"), 0o600), os.Symlink("/etc", filepath.Join(root, "config/.env.link"))); err != nil {
				t.Fatal(err)
			}
		})
		b.create.DryRun, b.create.Parts = dry, []string{project.Functions}
		if err := b.w.Handle(t.Context(), b.request()); err != nil {
			t.Fatal(err)
		}
		s := b.state()
		if s.Completed == nil {
			t.Fatalf("state %+v", s.Failed)
		}
		var said []string
		for _, w := range s.Completed.Warnings {
			said = append(said, w.Sentence)
		}
		if dry {
			for _, c := range s.Completed.Plan.Checks {
				said = append(said, c.Sentence)
			}
		}
		all := strings.Join(said, "\n")
		for _, want := range []string{
			"1 symbolic links of the part functions lead out of its folder, so the backup does not hold them; those that are there now stay.",
			"1 sockets, pipes or devices of the part functions are not in the backup; what is there under their names now is kept with what is replaced",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("dry run %v: %q is not in %s", dry, want, all)
			}
		}
		if strings.Contains(all, "of the part config") {
			t.Errorf("another part is spoken of: %s", all)
		}
		file, err := os.ReadFile(b.w.WarningsFile(b.a.ID))
		if err != nil || !strings.Contains(string(file), `"code":"backup_link_skipped","name":"etc"`) || !strings.Contains(string(file), `"code":"backup_file_skipped","name64":"cGn/cGU="`) {
			t.Errorf("%v: %s", err, file)
		}
	}
}

func TestDamage(t *testing.T) {
	for name, spoil := range map[string]func(b *bench){
		"a flipped bit": func(b *bench) { b.archive[len(b.archive)/4] ^= 4 },
		"cut off": func(b *bench) {
			b.archive = append(b.archive[:len(b.archive)/2], make([]byte, len(b.archive)-len(b.archive)/2)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			spoil(b)
			if err := b.w.Handle(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			if s := b.state(); s.Failed == nil || s.Failed.Reason != events.ReasonArchive || s.Failed.State != restore.Unchanged {
				t.Errorf("state %+v", s)
			}
			b.is("after damage", "changed")
			b.alone()
		})
	}
}

func TestHooks(t *testing.T) {
	for name, c := range map[string]struct {
		hooks   worker.Hooks
		ran     string
		is      string
		message string
		warning string
	}{
		"both":         {worker.Hooks{Before: "echo before >> ran", After: "echo after >> ran"}, "before\nafter\n", "backed up", "", ""},
		"before fails": {worker.Hooks{Before: "echo before >> ran; yes x | head -c 9999; echo; echo PASSWORD=hunter2; exit 3", After: "echo after >> ran"}, "before\nafter\n", "changed", "The command restore.before failed, so nothing was changed: exit status 3; what it said is in the log of holdfastd, at restore ", ""},
		"before hangs": {worker.Hooks{Before: "echo before >> ran; sleep 60", After: "echo after >> ran", Timeout: 300 * time.Millisecond}, "before\nafter\n", "changed", "The command restore.before failed, so nothing was changed: it took longer than 300ms; what it said is in the log of holdfastd, at restore ", ""},
		"after fails":  {worker.Hooks{Before: "true", After: "echo after >> ran; echo PASSWORD=hunter2; false"}, "after\n", "backed up", "", "start the project's services by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			core, logged := observer.New(zap.InfoLevel)
			b := newBench(t, func(cfg *worker.Config) {
				cfg.Logger = zap.New(core)
				c.hooks.Dir = t.TempDir()
				if c.hooks.Timeout == 0 {
					c.hooks.Timeout = time.Minute
				}
				cfg.Projects[0].Hooks = c.hooks
			})
			if err := b.w.Handle(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			b.is("in the end", c.is)
			if ran, err := os.ReadFile(filepath.Join(c.hooks.Dir, "ran")); err != nil || string(ran) != c.ran {
				t.Errorf("ran %q, %v", ran, err)
			}
			s := b.state()
			if c.message != "" && (s.Failed == nil || s.Failed.Message != c.message+b.a.ID || s.Failed.State != restore.Unchanged) {
				t.Errorf("failed: %+v", s.Failed)
			}
			if c.message == "" && (s.Completed == nil || (c.warning != "") != (len(s.Completed.Warnings) > 0)) {
				t.Errorf("completed: %+v", s.Completed)
			}
			if c.warning != "" && !strings.Contains(s.Completed.Warnings[0].Sentence, c.warning) {
				t.Errorf("warnings %+v", s.Completed.Warnings)
			}
			b.secret("hunter2")
			if strings.Contains(c.hooks.Before+c.hooks.After, "hunter2") {
				entries := logged.FilterField(zap.Bool("command_output_cut", c.message != "")).All()
				if len(entries) != 1 || !strings.HasSuffix(entries[0].ContextMap()["command_output"].(string), "PASSWORD=hunter2") {
					t.Errorf("logged %+v", logged.All())
				}
			}
		})
	}
}

// secret says that a word stands in no event and in no list of warnings.
func (b *bench) secret(word string) {
	b.t.Helper()
	for _, env := range b.log.All() {
		raw, err := json.Marshal(env.Event)
		if err != nil || strings.Contains(string(raw), word) {
			b.t.Errorf("event %s: %s, %v", env.Event.EventType(), raw, err)
		}
	}
	raw, err := os.ReadFile(b.w.WarningsFile(b.a.ID))
	if err != nil || strings.Contains(string(raw), word) {
		b.t.Errorf("the list of warnings: %s, %v", raw, err)
	}
}

// TestStalled lets the destination stop answering in the middle.
func TestStalled(t *testing.T) {
	b := newBench(t, func(c *worker.Config) {
		c.StallTimeout = time.Second
		c.Fetch = func(ctx context.Context, _ string, _ backup.ArchiveRead) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	s := b.state()
	if s.Failed == nil || s.Failed.Reason != events.ReasonStalled || s.Failed.State != restore.Unchanged || !strings.Contains(s.Failed.Message, "nothing moved for 1s in the phase check") {
		t.Errorf("state %+v", s.Failed)
	}
	b.is("after a stall", "changed")
	b.alone()
}

// TestTakenOver begins another attempt while one runs.
func TestTakenOver(t *testing.T) {
	reading := make(chan struct{}, 99)
	b := newBench(t, func(c *worker.Config) {
		c.Fetch = func(ctx context.Context, _ string, _ backup.ArchiveRead) ([]byte, error) {
			reading <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	env := b.request()
	ended := make(chan error, 1)
	go func() { ended <- b.w.Handle(t.Context(), env) }()
	<-reading
	last, err := b.log.Last(t.Context(), b.a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.log.Append(t.Context(), b.a, last.Revision, events.RestoreStarted{Attempt: 2, Worker: "other"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, events.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if s := b.state(); s.Terminal() || s.Attempt != 2 {
		t.Errorf("state %+v", s)
	}
	b.is("after it was taken over", "changed")
}

// TestStopped stops the worker after each stage; the next attempt must end it.
func TestStopped(t *testing.T) {
	for _, stage := range []string{restore.Built, restore.Safe, restore.Ready} {
		t.Run(stage, func(t *testing.T) {
			b := newBench(t)
			env := b.request()
			ctx, cancel := context.WithCancel(t.Context())
			b.seen = func(e events.Event) {
				if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == stage {
					cancel()
				}
			}
			if err := b.w.Handle(ctx, env); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			if err := b.w.Handle(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			if s := b.state(); s.Completed == nil || s.Attempt != 2 {
				t.Errorf("state %+v", s)
			}
			b.is("in the end", "backed up")
			b.alone("old", "old")
		})
	}
}

// TestSwapTurnsBack lets the second part not be swapped.
func TestSwapTurnsBack(t *testing.T) {
	b := newBench(t, func(c *worker.Config) {
		parts := c.Projects[0].Resolve(t.Context()).Parts
		parts[1] = stubborn{parts[1]}
	})
	env := b.request()
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Failed == nil || s.Failed.State != restore.Unchanged || !s.Done(restore.Back) {
		t.Errorf("state %+v", s)
	}
	b.is("in the end", "changed")
	b.alone()
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bench)
		code   fault.Code
		said   string
	}{
		"an unknown project":           {func(b *bench) { b.create.Project = "q"; b.a = events.RestoreAggregate("q", b.a.ID) }, fault.ProjectNotFound, "Project not found"},
		"an unknown backup":            {func(b *bench) { b.create.Backup = backup.NewID() }, fault.BackupNotFound, "Backup not found"},
		"a part that the backup lacks": {func(b *bench) { b.create.Parts = []string{project.Storage} }, fault.Invalid, "The backup holds no storage"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.change(b)
			b.request()
			if s := b.state(); s.Rejected == nil || s.Rejected.Code != string(c.code) || s.Rejected.Message != c.said || s.Exists() {
				t.Errorf("state %+v", s.Rejected)
			}
		})
	}
	b := newBench(t)
	b.request()
	if _, err := events.UpdateLast(t.Context(), b.log, events.SlotAggregate("p"), events.Cause{}, func(s backup.Slot) (events.Event, error) {
		return backup.Acquire(s, events.Holder{Kind: events.KindRestore, ID: b.a.ID, Exclusive: true})
	}); err != nil {
		t.Fatal(err)
	}
	first := b.a.ID
	b.create.ID = restore.NewID()
	b.a.ID = b.create.ID
	b.request()
	if s := b.state(); s.Rejected == nil || s.Rejected.Code != string(fault.Conflict) || s.Rejected.Message != "Another restore of the project is running: "+first {
		t.Errorf("beside another: %+v", s.Rejected)
	}
}
