package bus_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// serve starts a server on a folder that may have been used before.
func serve(t *testing.T, dir string) (*bus.Bus, func()) {
	t.Helper()
	srv, err := bus.StartServer(bus.ServerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), srv, bus.Config{})
	if err != nil {
		srv.Stop()
		t.Fatal(err)
	}
	return b, func() { b.Close(); srv.Stop() }
}

// hold appends n events to a backup.
func hold(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	last, err := b.Log().Last(t.Context(), backupA)
	if err != nil && !errors.Is(err, events.ErrNoEvent) {
		t.Fatal(err)
	}
	for range n {
		if last, err = b.Log().Append(t.Context(), backupA, last.Revision, events.BackupHeld{}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
	}
}

// damaged checks that nothing is written until the loss is accepted, apart from repairs,
// and that another process knows it.
func damaged(t *testing.T, b *bus.Bus, words string) {
	t.Helper()
	if err := b.Examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := b.Damage()
	if d == nil || !strings.Contains(d.Error(), words) || !strings.Contains(d.Error(), "holdfastd log accept") {
		t.Fatalf("damage %v, want %q and the way out", d, words)
	}
	if err := b.Writable(t.Context()); !errors.Is(err, events.ErrDamaged) {
		t.Errorf("writable: %v", err)
	}
	last, err := b.Log().Last(t.Context(), backupA)
	if err != nil && !errors.Is(err, events.ErrNoEvent) {
		t.Fatal(err)
	}
	if _, err := b.Log().Append(t.Context(), backupA, last.Revision, events.BackupReleased{}, events.Cause{}); !errors.Is(err, events.ErrDamaged) {
		t.Errorf("append: %v", err)
	}
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmds.Send(t.Context(), poke{ID: "backup-a"}, events.Cause{}); !errors.Is(err, events.ErrDamaged) {
		t.Errorf("send: %v", err)
	}
	if _, err := b.RepairLog().Append(t.Context(), backupA, last.Revision, events.BackupReleased{}, events.Cause{}); err != nil {
		t.Errorf("repair: %v", err)
	}
	if _, err := b.Accept(t.Context(), ""); err == nil {
		t.Error("accepted without a reason")
	}
	got, err := b.Accept(t.Context(), "the disk was lost")
	if err != nil || got == nil || got.Replaced != d.Replaced || got.Last != d.Last || b.Damage() != nil {
		t.Errorf("accepted %v, %v; left %v", got, err, b.Damage())
	}
	hold(t, b, 1)
	if err := b.Examine(t.Context()); err != nil || b.Damage() != nil {
		t.Errorf("afterwards: %v, %v", err, b.Damage())
	}
}

// TestFlippedByte damages the file of the log.
func TestFlippedByte(t *testing.T) {
	dir := t.TempDir()
	b, stop := serve(t, dir)
	hold(t, b, 20)
	known, err := b.Log().State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "HOLDFAST_EVENTS", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(files[0]), "index.db")); err != nil {
		t.Fatal(err)
	}
	b, stop = serve(t, dir)
	defer stop()
	b.Expect(known)
	damaged(t, b, "up to revision 20, which was known before")
}

// TestAnotherLog removes the log while a process runs on it.
func TestAnotherLog(t *testing.T) {
	dir := t.TempDir()
	b, stop := serve(t, dir)
	defer stop()
	hold(t, b, 5)
	if err := b.Examine(t.Context()); err != nil || b.Damage() != nil {
		t.Fatalf("%v, %v", err, b.Damage())
	}
	bus.DeleteStreams(t, b)
	if err := b.Readable(t.Context()); err == nil || !strings.Contains(err.Error(), "HOLDFAST_EVENTS is gone") {
		t.Errorf("readable: %v", err)
	}
	bus.Provision(t, b)
	damaged(t, b, "lost revision 1 and what follows, up to revision 5")
}

// TestMissingRevisions removes events from the middle, which a process that knows
// nothing of the log sees as well, and so does who follows it.
func TestMissingRevisions(t *testing.T) {
	b := embedded(t)
	bus.DeleteStreams(t, b)
	s, err := bus.JetStream(b).CreateStream(t.Context(), jetstream.StreamConfig{Name: "HOLDFAST_EVENTS", Subjects: []string{"holdfast.evt.*.*.*.*"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	bus.Provision(t, b)
	hold(t, b, 9)
	for _, seq := range []uint64{4, 5} {
		if err := s.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	var got []events.Revision
	err = b.Log().Follow(t.Context(), 0, func(envs []events.Envelope) error {
		for _, e := range envs {
			got = append(got, e.Revision)
		}
		return nil
	})
	if d, ok := errors.AsType[*events.DamageError](err); !ok || d.First != 4 || d.Last != 5 || len(got) != 3 {
		t.Errorf("followed %v, then %v", got, err)
	}
	damaged(t, b, "lost the revisions 4 to 5.")
	if err := s.DeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if err := b.Examine(t.Context()); err != nil || b.Damage() == nil || b.Damage().First != 7 {
		t.Errorf("what is lost later: %v, %v", err, b.Damage())
	}
}

// TestDamageIsKnownToAll finds damage in one process and accepts it in another.
func TestDamageIsKnownToAll(t *testing.T) {
	srv, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	var both [2]*bus.Bus
	for i := range both {
		if both[i], err = bus.Connect(t.Context(), srv, bus.Config{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(both[i].Close)
	}
	one, other := both[0], both[1]
	d := &events.DamageError{Destination: "s3"}
	for _, end := range []func() error{
		func() error { return one.Resolve(t.Context(), one.Damage()) },
		func() error { _, err := other.Accept(t.Context(), "they are somebody else's"); return err },
	} {
		if accepted, err := one.Damaged(t.Context(), d); accepted || err != nil {
			t.Fatalf("%v, %v", accepted, err)
		}
		if err := other.Examine(t.Context()); err != nil || other.Damage() == nil || *other.Damage() != *d {
			t.Errorf("the other knows %v, %v", other.Damage(), err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		for _, b := range both {
			if err := b.Examine(t.Context()); err != nil || b.Damage() != nil {
				t.Errorf("left: %v, %v", b.Damage(), err)
			}
		}
	}
}

// TestBrokenEvents puts events into the log that cannot be decoded.
func TestBrokenEvents(t *testing.T) {
	b := embedded(t)
	hold(t, b, 1)
	for _, m := range []struct{ subject, typ, data string }{
		{"holdfast.evt.p.backup.backup-a.started", "dev.holdfast.backup.started.v1", "{"},
		{"holdfast.evt.p.backup.backup-b.started", "dev.holdfast.backup.completed.v1", "{}"},
		{"holdfast.evt.p.backup.backup-b.started", "", "{}"},
		{"holdfast.evt.P.backup.backup-b.started", "dev.holdfast.backup.started.v1", "{}"},
	} {
		bus.Publish(t, b, m.subject, m.typ, m.data)
	}
	hold2 := events.BackupAggregate("p", "backup-c")
	request(t, b, hold2)
	done := errors.New("done")
	n := 0
	err := b.Log().Follow(t.Context(), 0, func(envs []events.Envelope) error {
		for _, e := range envs {
			if _, ok := e.Event.(events.Broken); ok {
				n++
			}
			if e.Aggregate == hold2 {
				return done
			}
		}
		return nil
	})
	if !errors.Is(err, done) || n != 4 {
		t.Errorf("%d broken events, %v; want 4", n, err)
	}
	for _, err := range b.Log().Read(t.Context(), backupA, 1) {
		if !errors.Is(err, events.ErrBroken) {
			t.Errorf("got %v, want ErrBroken", err)
		}
	}
}

// TestBrokenSlot puts a broken event behind a good one where only the last counts.
func TestBrokenSlot(t *testing.T) {
	b := embedded(t)
	slot, held := events.SlotAggregate("p"), events.SlotAcquired{Holders: []events.Holder{{Kind: events.KindBackup, ID: "backup-a"}}}
	if _, err := b.Log().Append(t.Context(), slot, 0, held, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	bus.Publish(t, b, "holdfast.evt."+slot.String()+".released", "dev.holdfast.slot.released.v1", "{")
	last, err := b.Log().Last(t.Context(), slot)
	if got, ok := last.Event.(events.SlotAcquired); err != nil || !ok || len(got.Holders) != 1 || last.Revision != 2 {
		t.Errorf("last %+v, %v; want the good event under the revision of the broken one", last, err)
	}
	if _, err := b.Log().Append(t.Context(), slot, last.Revision, events.SlotReleased{}, events.Cause{}); err != nil {
		t.Errorf("the slot cannot be given back: %v", err)
	}
}

// TestReplicaBehindIsNoDamage lets a log on a cluster seem shorter than it was: nothing
// is written until it is seen whole, and damage it is only when that lasts.
func TestReplicaBehindIsNoDamage(t *testing.T) {
	url, _ := testenv.NATSCluster(t)
	var both [2]*bus.Bus
	for i := range both {
		var err error
		if both[i], err = bus.Connect(t.Context(), nil, bus.Config{URL: url, Replicas: 3}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(both[i].Close)
	}
	b, other := both[0], both[1]
	hold(t, b, 3)
	known, err := b.Log().State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known.Last = 5
	b.Expect(known)
	if err := b.Examine(t.Context()); err != nil || b.Damage() != nil {
		t.Fatalf("%v, damage %v", err, b.Damage())
	}
	if _, err := b.Log().Append(t.Context(), backupA, 3, events.BackupHeld{}, events.Cause{}); !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrDamaged) || b.Health() == nil {
		t.Errorf("append: %v, health %v", err, b.Health())
	}
	hold(t, other, 2)
	if err := b.Examine(t.Context()); err != nil || b.Damage() != nil {
		t.Errorf("%v, damage %v", err, b.Damage())
	}
	hold(t, b, 1)
	known.Last = 9
	b.Expect(known)
	testenv.Eventually(t, 2*time.Minute, func() error {
		if err := b.Examine(t.Context()); err != nil {
			return err
		}
		if d := b.Damage(); d == nil || d.Last != 9 {
			return errors.New("no damage yet")
		}
		return nil
	})
}
