package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/testenv"
)

// operation is something that a client asks for, with the events that it appends.
type operation struct {
	name    string
	points  []string // kind.event, and the stage if there are several
	keepOld string   // how long what was replaced is kept; a day if empty
	// ask asks for it on a site where everything is ready for it, and again, under the same
	// key, until it has ended. It checks the end. Whatever becomes of the first request, the
	// victim dies at it.
	ask func(s *site, key string) (ask func() (answer, error), ended func())
}

// operations are those of the matrix.
func operations() []operation {
	return []operation{
		{name: "restore", points: []string{
			"restore.requested", "slot.acquired", "restore.started", "restore.stage_completed built", "backup.requested", "backup.started", "backup.completed",
			"restore.stage_completed safe", "restore.stage_completed ready", "restore.completed", "slot.released",
		}, ask: (*site).askRestore},
		{name: "backup", points: []string{"backup.requested", "slot.acquired", "backup.started", "backup.completed", "slot.released"}, ask: (*site).askBackup},
		{name: "failing backup", points: []string{"backup.failed", "slot.released"}, ask: (*site).askFailingBackup},
		{name: "failing restore", points: []string{"restore.failed", "slot.released"}, ask: (*site).askFailingRestore},
		{name: "undo", points: []string{"restore.undo_requested", "slot.acquired", "restore.undone", "slot.released"}, ask: (*site).askUndo},
		{name: "drop", keepOld: "1s", points: []string{"restore.old_dropped"}, ask: (*site).askDrop},
		{name: "delete", points: []string{"backup.delete_requested", "backup.deleted"}, ask: (*site).askDelete},
		{name: "cancel backup", points: []string{"backup.cancel_requested", "backup.cancelled"}, ask: (*site).askCancelBackup},
		{name: "cancel restore", points: []string{"restore.cancel_requested", "restore.cancelled", "slot.released"}, ask: (*site).askCancelRestore},
	}
}

// matrixSites is how many sites work side by side. Most of the time they wait for a
// delivery that comes again.
const matrixSites = 4

// TestKillMatrix kills the worker, the whole daemon and the NATS server just before and
// just after each event that an operation appends. Afterwards each job has one end, and
// nothing else is left of it than the log says.
func TestKillMatrix(t *testing.T) {
	t.Parallel() // most of it is waiting
	type column struct {
		op     operation
		victim string
	}
	columns := make(chan column, 100)
	for _, victim := range []string{victimNATS, victimWorker, victimDaemon} { // the longest first
		for _, op := range operations() {
			columns <- column{op, victim}
		}
	}
	close(columns)
	binary := testenv.NATSBinary(t)
	var sites sync.WaitGroup
	for range matrixSites {
		sites.Go(func() {
			for c := range columns {
				t.Run(c.op.name+"/"+c.victim, func(t *testing.T) {
					keepOld := c.op.keepOld
					if keepOld == "" {
						keepOld = "24h"
					}
					s := newSite(t, binary, c.victim, keepOld)
					for _, point := range c.op.points {
						for _, when := range []string{"before", "after"} {
							t.Run(when+" "+point, func(t *testing.T) {
								s.in(t)
								s.row(c.op, when, point)
							})
						}
					}
					s.in(t) // for the cleanups
				})
			}
		})
	}
	sites.Wait()
}

// row kills the victim at one point of an operation.
func (s *site) row(op operation, when, point string) {
	s.t.Helper()
	begin := time.Now()
	ask, ended := op.ask(s, fmt.Sprint(s.t.Name(), time.Now().UnixNano()))
	kindEvent, stage, _ := strings.Cut(point, " ")
	kind, event, _ := strings.Cut(kindEvent, ".")
	var about events.Aggregate
	match := func(subject string, payload []byte) bool {
		f := strings.Split(subject, ".") // holdfast.evt.<project>.<kind>.<id>.<event>
		if len(f) != 6 || f[1] != "evt" || f[3] != kind || f[5] != event || !strings.Contains(string(payload), stage) {
			return false
		}
		about = events.Aggregate{Project: f[2], Kind: f[3], ID: f[4]}
		return true
	}
	var known pastEvents
	testenv.Eventually(s.t, time.Minute, func() (err error) {
		known, err = s.log.history()
		return err
	})
	stop := s.proxy.StopBefore
	if when == "after" {
		stop = s.proxy.StopAfter
	}
	reached := stop(match).Reached
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = ask() // the victim may die of it
	}()
	select {
	case <-reached:
	case <-time.After(2 * time.Minute):
		s.t.Fatal("the point was not reached")
	}
	if when == "after" {
		testenv.Eventually(s.t, time.Minute, func() error {
			all, err := s.log.history()
			if err == nil && len(all[about]) == len(known[about]) {
				err = errors.New("the event is not in the log")
			}
			return err
		})
	}
	s.kill()
	<-asked
	ended()
	testenv.Eventually(s.t, 2*time.Minute, s.settled)
	s.t.Logf("%s of %s, %s killed %s: %s", point, op.name, s.victim, when, time.Since(begin).Round(100*time.Millisecond))
}

// keyed returns a request with an Idempotency-Key, and a check that it has one effect: a
// repeat is answered with the id that the others were answered with.
func (s *site) keyed(path, body, key string, want ...string) (ask func() (answer, error), ended func() answer) {
	ask = func() (answer, error) {
		return s.gateway.try("POST", path, body, "Idempotency-Key", key, "Prefer", "wait=20")
	}
	return ask, func() answer {
		first := s.until(ask, want...)
		again := s.until(ask, want...)
		if id := first.id(); id != again.id() {
			s.t.Errorf("the same key gave %s and %s", id, again.id())
		}
		return again
	}
}

// id returns the id of a backup or a restore in an answer; "" in one that says no more
// than that it has failed.
func (a answer) id() string {
	for _, kind := range []string{`"id":"backup-`, `"id":"restore-`} {
		if _, rest, ok := strings.Cut(a.body, kind); ok {
			id, _, _ := strings.Cut(rest, `"`)
			return id
		}
	}
	return ""
}

func (s *site) askBackup(key string) (func() (answer, error), func()) {
	ask, ended := s.keyed("/backups", full, key, "201 completed")
	return ask, func() { ended() }
}

// askFailingBackup lets the functions be away.
func (s *site) askFailingBackup(key string) (func() (answer, error), func()) {
	sh(s.t, s.dir, "mv functions away")
	ask, ended := s.keyed("/backups", full, key, "500 backup_failed")
	return ask, func() {
		ended()
		sh(s.t, s.dir, "mv away functions")
	}
}

func (s *site) askRestore(key string) (func() (answer, error), func()) {
	s.write("changed")
	ask, ended := s.keyed("/backups/"+s.backup+"/restore", `{}`, key, "200 completed")
	return ask, func() {
		ended()
		if err := s.is("backed up"); err != nil {
			s.t.Error(err)
		}
	}
}

// askFailingRestore lets the services not be stopped.
func (s *site) askFailingRestore(key string) (func() (answer, error), func()) {
	s.write("changed")
	s.flag("fail", true)
	ask, ended := s.keyed("/backups/"+s.backup+"/restore", `{"safetyBackup":false}`, key, "500 restore_failed")
	return ask, func() {
		ended()
		s.flag("fail", false)
		if err := s.is("changed"); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *site) askUndo(string) (func() (answer, error), func()) {
	s.write("changed")
	id := s.newRestore(true)
	testenv.Eventually(s.t, time.Minute, s.settled) // the slot is given back after the answer
	ask := func() (answer, error) { return s.gateway.try("POST", "/restores/"+id+"/undo", "") }
	return ask, func() {
		s.until(ask, `200 "undone":true`, "409 undone already")
		if err := s.is("changed"); err != nil {
			s.t.Error(err)
		}
	}
}

// askDrop asks for nothing but a restore: what it has replaced goes by itself.
func (s *site) askDrop(key string) (func() (answer, error), func()) {
	s.write("changed")
	ask, ended := s.keyed("/backups/"+s.backup+"/restore", `{"safetyBackup":false}`, key, "200 completed")
	return ask, func() {
		id := ended().id()
		testenv.Eventually(s.t, time.Minute, func() error {
			all, err := s.log.history()
			if a := events.RestoreAggregate("p", "restore-"+id); err == nil && !slices.Contains(all[a], events.Event(events.RestoreOldDropped{})) {
				err = errors.New("what was replaced is kept")
			}
			return err
		})
	}
}

func (s *site) askDelete(string) (func() (answer, error), func()) {
	id := s.newBackup()
	ask := func() (answer, error) { return s.gateway.try("DELETE", "/backups/"+id, "") }
	return ask, func() { s.until(ask, "200 deleted", "404 backup_not_found") }
}

// askCancelBackup cancels a backup that waits for a restore.
func (s *site) askCancelBackup(key string) (func() (answer, error), func()) {
	s.stopped()
	a := s.until(func() (answer, error) {
		return s.gateway.try("POST", "/backups", full, "Idempotency-Key", key, "Prefer", "respond-async")
	}, "202 pending")
	ask := func() (answer, error) { return s.gateway.try("POST", "/backups/backup-"+a.id()+"/cancel", "") }
	return ask, func() {
		s.until(ask, `200 "reason":"cancelled"`, "409 has ended already")
		s.flag("wait", false)
	}
}

// stopped begins a restore that waits while the services are stopped, and returns its id.
func (s *site) stopped() string {
	s.t.Helper()
	s.write("changed")
	s.flag("wait", true)
	id := s.newRestore(false)
	testenv.Eventually(s.t, time.Minute, func() error {
		return missing("project", s.dir, []string{"stopped"})
	})
	return id
}

func (s *site) askCancelRestore(string) (func() (answer, error), func()) {
	id := s.stopped()
	ask := func() (answer, error) { return s.gateway.try("POST", "/restores/"+id+"/cancel", "") }
	return ask, func() {
		s.until(ask, `200 "reason":"cancelled"`, "409 has ended already")
		s.flag("wait", false)
		if err := s.is("changed"); err != nil {
			s.t.Error(err)
		}
	}
}
