package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestWaiting finds a command as long as nobody has dealt with it.
func TestWaiting(t *testing.T) {
	b := embedded(t)
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []poke{{ID: "backup-a", Mode: "first"}, {ID: "backup-b"}, {ID: "backup-a", Mode: "again"}} {
		if err := cmds.Send(t.Context(), c, events.Cause{}); err != nil {
			t.Fatal(err)
		}
	}
	var got poke
	if sent, err := b.Waiting(t.Context(), "backup", "poke", "backup-a", &got); err != nil || got.Mode != "again" || time.Since(sent) > time.Minute {
		t.Errorf("got %+v of %s, %v", got, sent, err)
	}
	for _, x := range [][3]string{{"backup", "poke", "backup-c"}, {"backup", "other", "backup-a"}, {"restore", "poke", "backup-a"}} {
		if sent, err := b.Waiting(t.Context(), x[0], x[1], x[2], &got); err != nil || !sent.IsZero() {
			t.Errorf("%v: sent %s, %v", x, sent, err)
		}
	}
	if _, err := b.Waiting(t.Context(), "backup", "poke", "*", &got); err == nil {
		t.Error("an id may be a pattern")
	}
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.HandleCommand(r, "backup", "default", "poke", func(context.Context, *poke, events.Cause) error { return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, r)
	testenv.Eventually(t, 30*time.Second, func() error {
		if sent, err := b.Waiting(t.Context(), "backup", "poke", "backup-a", &got); err != nil || !sent.IsZero() {
			return errors.Join(err, errors.New("it still waits"))
		}
		return nil
	})
}

// TestFind finds an aggregate whose project is not known.
func TestFind(t *testing.T) {
	b := embedded(t)
	log := b.Log()
	for _, id := range []string{"backup-a", "backup-b"} {
		for _, project := range []string{"p", "q"} {
			if _, err := log.Append(t.Context(), events.BackupAggregate(project, id+project), 0, events.BackupRequested{}, events.Cause{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, err := log.Find(t.Context(), events.KindBackup, "backup-aq"); err != nil || a != events.BackupAggregate("q", "backup-aq") {
		t.Errorf("got %v, %v", a, err)
	}
	for _, x := range [][2]string{{events.KindBackup, "backup-c"}, {events.KindRestore, "backup-aq"}} {
		if a, err := log.Find(t.Context(), x[0], x[1]); !errors.Is(err, events.ErrNoEvent) {
			t.Errorf("%v: %v, %v", x, a, err)
		}
	}
	if _, err := log.Find(t.Context(), events.KindBackup, "*"); err == nil || errors.Is(err, events.ErrNoEvent) {
		t.Errorf("an id may be a pattern: %v", err)
	}
}

// TestEarlierCommands connects to a server whose stream and command have the subjects of
// an earlier version.
func TestEarlierCommands(t *testing.T) {
	n := testenv.NATSAlone(t, testenv.NATSBinary(t), t.TempDir())
	nc, err := nats.Connect(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	old := jetstream.StreamConfig{Name: "HOLDFAST_COMMANDS", Subjects: []string{"holdfast.cmd.*.*.*.*"}, Retention: jetstream.WorkQueuePolicy, MaxMsgs: 77}
	if _, err := js.CreateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	earlier := nats.NewMsg("holdfast.cmd.backup.default.p.poke")
	earlier.Data = []byte(`{"id":"backup-old"}`)
	earlier.Header.Set("name", "bus_test.poke")
	if _, err := js.PublishMsg(t.Context(), earlier); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), nil, bus.Config{URL: n.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cmds, err := b.Commands()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmds.Send(t.Context(), poke{ID: "backup-new"}, events.Cause{}); err != nil {
		t.Fatal(err)
	}
	handled := make(chan string, 2)
	r, err := b.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.HandleCommand(r, "backup", "default", "poke", func(_ context.Context, c *poke, _ events.Cause) error {
		handled <- c.ID
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	run(t, r)
	got := map[string]bool{}
	for len(got) < 2 {
		select {
		case id := <-handled:
			got[id] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("handled only %v", got)
		}
	}
	s, err := js.Stream(t.Context(), old.Name)
	if err != nil {
		t.Fatal(err)
	}
	if now := s.CachedInfo().Config; len(now.Subjects) != 2 || now.MaxMsgs != 77 {
		t.Errorf("the stream is %+v", now)
	}
}
