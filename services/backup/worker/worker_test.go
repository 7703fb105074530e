package worker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/local"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// part is a part of a project that does what a test wants.
type part func(ctx context.Context, w *archive.Writer) error

func (part) Name() string { return project.Config }

func (p part) Dump(ctx context.Context, _ *project.Session, w *archive.Writer) ([]project.Warning, error) {
	return nil, p(ctx, w)
}

func (part) Restoration(project.Target) project.Restoration { return nil }

func (part) Kept(project.Target) project.Kept { return nil }

func fine(context.Context, *archive.Writer) error { return nil }

// bench is a worker on a log in memory and a folder.
type bench struct {
	t     *testing.T
	log   *eventstest.Log
	reads *eventstest.Faulty // by which the worker reads the log
	store destination.Store
	w     *worker.Worker
	a     events.Aggregate
}

func newBench(t *testing.T, p part, change ...func(*worker.Config)) *bench {
	t.Helper()
	store, err := local.Open(local.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b := &bench{t: t, log: &eventstest.Log{}, store: store, a: events.BackupAggregate("p", backup.NewID())}
	b.reads = eventstest.NewFaulty(b.log)
	c := worker.Config{
		Pool: "default", Name: "w", Logger: zap.NewNop(), DefaultDestination: "local", Destinations: map[string]destination.Store{"local": store},
		Projects: []worker.Project{{ID: "p", Name: "P", Resolve: project.Fixed(project.Project{Parts: []project.Part{p}})}},
	}
	for _, f := range change {
		f(&c)
	}
	b.w = worker.New(c, b.reads)
	return b
}

func (b *bench) create() backup.Create {
	return backup.Create{ID: b.a.ID, Project: "p", Pool: "default", Type: backup.Config, Destination: "local", Origin: backup.OriginManual, BodyHash: "h"}
}

// request asks for the backup and returns the event that starts it.
func (b *bench) request() events.Envelope {
	b.t.Helper()
	c := b.create()
	if err := b.w.Create(b.t.Context(), &c, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
	env, err := b.log.Last(b.t.Context(), b.a)
	if err != nil {
		b.t.Fatal(err)
	}
	return env
}

func (b *bench) append(e events.Event) {
	b.t.Helper()
	last, err := b.log.Last(b.t.Context(), b.a)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.log.Append(b.t.Context(), b.a, last.Revision, e, events.Cause{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) state() (s backup.State) {
	for env := range b.log.Read(b.t.Context(), b.a, 0) {
		s = s.Apply(env)
	}
	return s
}

func (b *bench) objects() (keys []string) {
	b.t.Helper()
	for info, err := range b.store.List(b.t.Context(), "") {
		if err != nil {
			b.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// holders returns who holds the project's slot.
func (b *bench) holders() []events.Holder {
	var s backup.Slot
	for env := range b.log.Read(b.t.Context(), events.SlotAggregate("p"), 0) {
		s = s.Apply(env)
	}
	return s.Holders
}

func TestCompletedOnce(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	for range 2 { // the second delivery finds it done
		if err := b.w.Handle(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	s := b.state()
	if s.Completed == nil || s.Attempt != 1 || s.Completed.Size == 0 || len(s.Completed.SHA256) != 64 {
		t.Errorf("state %+v", s)
	}
	if keys := b.objects(); len(keys) != 2 {
		t.Errorf("objects %v, want the archive and what stands beside it", keys)
	}
	if h := b.holders(); len(h) != 0 {
		t.Errorf("slot still held by %v", h)
	}
}

func TestStalledAttemptFails(t *testing.T) {
	b := newBench(t, func(ctx context.Context, _ *archive.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	}, func(c *worker.Config) { c.StallTimeout = time.Second })
	err := b.w.Handle(t.Context(), b.request())
	if _, retry := events.RetryDelay(err); !retry {
		t.Errorf("error %v, want one that asks for another attempt", err)
	}
	last, _ := b.log.Last(t.Context(), b.a)
	failed, ok := last.Event.(events.BackupFailed)
	if !ok || failed.Reason != events.ReasonStalled || failed.Final || !strings.Contains(failed.Message, "nothing moved for 1s in the phase config") {
		t.Errorf("got %+v", last.Event)
	}
	if keys := b.objects(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
}

func TestThreeAttemptsThenFinal(t *testing.T) {
	tries := 0
	b := newBench(t, func(context.Context, *archive.Writer) error {
		if tries++; tries == 2 {
			panic("in the second")
		}
		return &project.Error{Sentence: "The database went away.", Retry: true}
	})
	env := b.request()
	for range backup.MaxAttempts {
		_ = b.w.Handle(t.Context(), env)
	}
	s := b.state()
	if tries != 3 || s.Failed == nil || s.Failed.Reason != events.ReasonSource || s.Failed.Message != "The database went away" || s.Failed.Attempt != 3 {
		t.Errorf("tries %d, failed %+v", tries, s.Failed)
	}
	for _, env := range b.log.All() {
		if f, ok := env.Event.(events.BackupFailed); ok && f.Attempt == 2 && (f.Reason != events.ReasonInternal || strings.Contains(f.Message, "panic")) {
			t.Errorf("a panic became %+v", f)
		}
	}
}

func TestWorkerThatDiedThreeTimes(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	for n := range backup.MaxAttempts {
		b.append(events.BackupStarted{Attempt: n + 1, Worker: "dead", Token: strings.Repeat("t", n+1)})
	}
	b.put(2, backup.Mark("", "tt"))
	if err := b.w.Handle(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Failed == nil || s.Failed.Reason != events.ReasonCrashed {
		t.Errorf("failed %+v", s.Failed)
	}
	if keys := b.objects(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
}

func TestFencedAttemptLeavesNothing(t *testing.T) {
	var b *bench
	b = newBench(t, func(context.Context, *archive.Writer) error {
		b.append(events.BackupStarted{Attempt: 2, Worker: "other"})
		return nil
	})
	if err := b.w.Handle(t.Context(), b.request()); !errors.Is(err, events.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if s := b.state(); s.Completed != nil || s.Attempt != 2 {
		t.Errorf("state %+v", s)
	}
	if keys := b.objects(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
	if h := b.holders(); len(h) != 1 {
		t.Errorf("holders %v: the slot belongs to the other attempt", h)
	}
}

func TestStoppedWorkerRecordsNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	b := newBench(t, func(ctx context.Context, _ *archive.Writer) error {
		stop()
		<-ctx.Done()
		return ctx.Err()
	})
	if err := b.w.Handle(ctx, b.request()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if last, _ := b.log.Last(t.Context(), b.a); last.Event.EventType() != "backup.started.v1" {
		t.Errorf("last event %+v", last.Event)
	}
}

func TestBackupWaitsForARestore(t *testing.T) {
	b := newBench(t, fine)
	env := b.request()
	alone := events.Holder{Kind: "restore", ID: "restore-x", Exclusive: true}
	if _, err := b.log.Append(t.Context(), events.SlotAggregate("p"), 0, events.SlotAcquired{Holder: alone, Holders: []events.Holder{alone}}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	if after, retry := events.RetryDelay(b.w.Handle(t.Context(), env)); !retry || after <= 0 {
		t.Error("a backup did not wait for the restore")
	}
	if s := b.state(); s.Attempt != 0 {
		t.Errorf("attempt %d began", s.Attempt)
	}
}

func TestRefusedRequests(t *testing.T) {
	b := newBench(t, fine, func(c *worker.Config) {
		c.Room = func() error { return errors.New("full") }
	})
	for _, c := range []struct {
		change func(*backup.Create)
		code   fault.Code
		word   string
	}{
		{func(c *backup.Create) { c.Type = backup.Storage }, fault.Invalid, "it has config"},
		{func(c *backup.Create) { c.Destination = "s3" }, fault.Invalid, "there is local"},
		{func(c *backup.Create) { c.Encrypt = true }, fault.Invalid, "encryption.recipients"},
		{func(*backup.Create) {}, fault.Unavailable, "disk space"},
	} {
		cmd := b.create()
		c.change(&cmd)
		if err := b.w.Create(t.Context(), &cmd, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if s := b.state(); s.Exists() || s.Rejected == nil || s.Rejected.Code != string(c.code) || !strings.Contains(s.Rejected.Message, c.word) {
			t.Errorf("%s: rejected %+v", c.code, s.Rejected)
		}
	}
}

// denying is a store whose objects cannot be deleted, or whose uploads fail.
type denying struct {
	destination.Store
	del, put error
}

func (d *denying) Delete(ctx context.Context, key string) error {
	if d.del != nil {
		return d.del
	}
	return d.Store.Delete(ctx, key)
}

func (d *denying) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if d.put != nil {
		return destination.Info{}, d.put
	}
	return d.Store.Put(ctx, key, r, e)
}

func TestDeleteThatFailsIsAFact(t *testing.T) {
	d := &denying{}
	b := newBench(t, fine, func(c *worker.Config) {
		d.Store = c.Destinations["local"]
		c.Destinations["local"] = d
	})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	del := func() backup.State {
		t.Helper()
		if err := b.w.Delete(t.Context(), &backup.Delete{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		return b.state()
	}
	d.del = destination.ErrDenied
	if s := del(); s.Deleted || s.Deleting || s.Undeleted == nil || !strings.Contains(s.Undeleted.Message, "refused to delete") {
		t.Errorf("state %+v", s)
	}
	d.del = nil
	if s := del(); !s.Deleted || len(b.objects()) != 0 {
		t.Errorf("state %+v, objects %v", s, b.objects())
	}
}

func TestDestinationErrorsBecomeSentences(t *testing.T) {
	for err, want := range map[error]events.BackupFailed{
		destination.ErrNoSpace: {Reason: events.ReasonNoSpace, Message: "Insufficient disk space at the destination", Final: true},
		destination.ErrDenied:  {Reason: events.ReasonDestination, Message: "The destination refused access; check its permissions or credentials", Final: true},
		errors.New("secret"):   {Reason: events.ReasonDestination, Message: "The archive could not be stored at the destination; the log of the worker says why", Retryable: true},
	} {
		b := newBench(t, fine, func(c *worker.Config) { c.Destinations["local"] = &denying{put: err, Store: c.Destinations["local"]} })
		_ = b.w.Handle(t.Context(), b.request())
		want.Attempt = 1
		if last, _ := b.log.Last(t.Context(), b.a); last.Event != want {
			t.Errorf("%v: got %+v", err, last.Event)
		}
	}
}

func TestRegisteredOnlyWhenItDiffers(t *testing.T) {
	b := newBench(t, fine)
	for range 2 {
		if err := b.w.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := b.log.All()
	if len(all) != 1 {
		t.Fatalf("%d events, want 1", len(all))
	}
	e := all[0].Event.(events.ProjectRegistered)
	if e.Name != "P" || e.Pool != "default" || len(e.Parts) != 1 || e.DefaultDestination != "local" || e.CanEncrypt {
		t.Errorf("registered %+v", e)
	}
}

func TestReadAnswersRanges(t *testing.T) {
	b := newBench(t, fine)
	if _, err := b.store.Put(t.Context(), "p/x.tar.gz", strings.NewReader("0123456789"), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    backup.ArchiveRead
		want string
		code fault.Code
	}{
		{backup.ArchiveRead{Destination: "local", Key: "p/x.tar.gz", Offset: 3, Length: 4}, "3456", ""},
		{backup.ArchiveRead{Destination: "local", Key: "p/x.tar.gz", Offset: 8, Length: 4}, "89", ""},
		{backup.ArchiveRead{Destination: "local", Key: "p/y.tar.gz", Length: 1}, "", fault.BadArchive},
		{backup.ArchiveRead{Destination: "s3", Key: "p/x.tar.gz", Length: 1}, "", fault.Conflict},
		{backup.ArchiveRead{Destination: "local", Key: "p/x.tar.gz", Length: backup.MaxRead + 1}, "", fault.Invalid},
		{backup.ArchiveRead{Destination: "local", Key: "../x", Length: 1}, "", fault.Unavailable},
	} {
		got, err := b.w.Read(t.Context(), c.q)
		if string(got) != c.want || err != nil && fault.CodeOf(err) != c.code || err == nil && c.code != "" {
			t.Errorf("%+v: got %q, %v", c.q, got, err)
		}
	}
}
