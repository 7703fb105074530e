package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestConsumersAreMadeAgain deletes every durable consumer, one by one, and asks for what
// it is needed for: that is done within a minute, once, and the log names the consumer.
func TestConsumersAreMadeAgain(t *testing.T) {
	dir, port := t.TempDir(), testenv.FreePort(t)
	sh(t, dir, "mkdir src && echo 1 > src/file")
	url := fmt.Sprintf("nats://u:secret@127.0.0.1:%d", port)
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, config: {root: %s/src, include: ['**']}}", dir),
		fmt.Sprintf("nats: {listen: '127.0.0.1:%d', user: u, password: secret}\nrestore: {keep_old: 20s}\n", port)))
	d.ready()
	var id, restored string
	create := func() { id = d.wanted(d.call("POST", "/backups", full), 201).backup()["id"].(string) }
	verify := func() { d.wanted(d.call("POST", "/backups/"+id+"/verify", ""), 200) }
	restore := func() { restored = d.wanted(d.call("POST", "/backups/"+id+"/restore", `{}`), 200).restore(t).ID }
	undo := func() { restore(); d.wanted(d.call("POST", "/restores/"+restored+"/undo", ""), 200) }
	remove := func() {
		create()
		d.wanted(d.call("DELETE", "/backups/"+id, ""), 200)
		create()
	}
	cancel := func() { // of a backup that waits behind others
		for range 20 {
			id = d.wanted(d.call("POST", "/backups", full, "Prefer", "respond-async"), 202).backup()["id"].(string)
		}
		if a := d.call("POST", "/backups/"+id+"/cancel", ""); a.status != 200 && a.status != 409 { // it may have ended
			t.Errorf("%d %s", a.status, a.body)
		}
		create()
	}
	for _, f := range []func(){create, verify, undo, remove, cancel} { // the consumers of projects are made as they are needed
		f()
	}
	for _, c := range []struct {
		stream, name string
		needed       func()
	}{
		{"HOLDFAST_EVENTS", "backup-default", create},
		{"HOLDFAST_JOBS", "backup-default-job=p", create},
		{"HOLDFAST_COMMANDS", "backup-default-create=p", create},
		{"HOLDFAST_COMMANDS", "backup-default-verify=p", verify},
		{"HOLDFAST_EVENTS", "restore-default", restore},
		{"HOLDFAST_JOBS", "restore-default-job=p", restore},
		{"HOLDFAST_JOBS", "safety-default-job=p", restore},
		{"HOLDFAST_COMMANDS", "restore-default-create=p", restore},
		{"HOLDFAST_COMMANDS", "restore-default-undo=p", undo},
		{"HOLDFAST_COMMANDS", "backup-default-delete=p", remove},
		{"HOLDFAST_COMMANDS", "backup-default-cancel=p", cancel},
		{"HOLDFAST_EVENTS", "restore-drop-default", restore},
	} {
		testenv.DeleteConsumer(t, url, c.stream, c.name)
		begin := time.Now()
		c.needed()
		took := time.Since(begin)
		t.Logf("%s: %s", c.name, took)
		if took > time.Minute {
			t.Errorf("%s: what it is needed for took %s", c.name, took)
		}
		testenv.Eventually(t, time.Minute, func() error {
			if b, err := os.ReadFile(d.config + ".log"); err != nil || !strings.Contains(string(b), "consumer "+c.name+" ") {
				return fmt.Errorf("the log does not name %s (%w)", c.name, err)
			}
			return nil
		})
	}
	q := &queues{daemon: d, t: t, url: url}
	testenv.Eventually(t, time.Minute, func() error { // by the last consumer
		if !slices.ContainsFunc(q.history(), is(events.KindRestore, restored, "old_dropped")) {
			return errors.New("what the restore has replaced is still there")
		}
		return nil
	})
	ends := map[string]int{}
	for _, e := range q.history() {
		switch e.Event.(type) {
		case events.BackupCompleted, events.RestoreCompleted, events.RestoreUndone, events.BackupDeleted, events.RestoreOldDropped:
			ends[e.Aggregate.ID+" "+e.Event.EventType()]++
		}
	}
	for what, n := range ends {
		if n > 1 {
			t.Errorf("%s: %d times", what, n)
		}
	}
	d.ready()
}

// wanted is want that ends the test, and returns the answer.
func (d *daemon) wanted(a answer, status int) answer {
	d.t.Helper()
	if a.status != status {
		d.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}
