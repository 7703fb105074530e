package backup_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// after folds events.
func after(es ...events.Event) (s backup.State) {
	for i, e := range es {
		s = s.Apply(events.Envelope{Event: e, Revision: events.Revision(i + 1), Time: time.Unix(int64(i), 0)})
	}
	return s
}

var (
	requested = events.BackupRequested{Type: "full", BodyHash: "h"}
	started   = events.BackupStarted{Attempt: 1}
	completed = events.BackupCompleted{Attempt: 1}
	again     = events.BackupFailed{Attempt: 1, Retryable: true}
	final     = events.BackupFailed{Attempt: 1, Final: true}
)

func TestDecisions(t *testing.T) {
	accept := func(hash string) func(backup.State) (events.Event, error) {
		return func(s backup.State) (events.Event, error) {
			return backup.Accept(s, backup.Create{Type: "full", BodyHash: hash})
		}
	}
	start := func(s backup.State) (events.Event, error) { return backup.Start(s, "w", "") }
	complete := func(attempt int) func(backup.State) (events.Event, error) {
		return func(s backup.State) (events.Event, error) {
			return backup.Complete(s, events.BackupCompleted{Attempt: attempt})
		}
	}
	fail := func(attempt int, retry bool) func(backup.State) (events.Event, error) {
		return func(s backup.State) (events.Event, error) {
			return backup.Fail(s, events.BackupFailed{Attempt: attempt, Retryable: retry})
		}
	}
	cancel := func(s backup.State) (events.Event, error) { return backup.RequestCancel(s, backup.Cancel{}) }
	cancelQueued := func(s backup.State) (events.Event, error) {
		return backup.RequestCancel(s, backup.Cancel{Queued: true})
	}
	reject := func(s backup.State) (events.Event, error) { return backup.Reject(s, fault.Invalid, "m") }
	for name, c := range map[string]struct {
		state  backup.State
		decide func(backup.State) (events.Event, error)
		want   events.Event
		err    error      // one of errors.Is
		code   fault.Code // or a fault
	}{
		"a new request is accepted":                   {state: after(), decide: accept("h"), want: requested},
		"a repeat changes nothing":                    {state: after(requested, started), decide: accept("h"), err: events.ErrNoChange},
		"another body is a mismatch":                  {state: after(requested), decide: accept("x"), code: fault.IdempotencyMismatch},
		"a rejected request may be asked again":       {state: after(events.BackupRejected{}), decide: accept("h"), want: requested},
		"a rejection":                                 {state: after(), decide: reject, want: events.BackupRejected{Code: "invalid_request", Message: "m"}},
		"a running backup cannot be rejected":         {state: after(requested), decide: reject, err: events.ErrNoChange},
		"the first attempt":                           {state: after(requested), decide: start, want: events.BackupStarted{Attempt: 1, Worker: "w"}},
		"the next attempt after a crash":              {state: after(requested, started), decide: start, want: events.BackupStarted{Attempt: 2, Worker: "w"}},
		"nothing starts without a request":            {state: after(), decide: start, err: events.ErrBehind},
		"nothing starts after the end":                {state: after(requested, started, completed), decide: start, err: events.ErrNoChange},
		"cancelling":                                  {state: after(requested, started), decide: cancel, want: events.BackupCancelRequested{}},
		"cancelling twice changes nothing":            {state: after(requested, events.BackupCancelRequested{}), decide: cancel, err: events.ErrNoChange},
		"what has ended is not cancelled":             {state: after(requested, started, completed), decide: cancel, code: fault.Conflict},
		"what is queued is cancelled":                 {state: after(), decide: cancelQueued, want: events.BackupCancelRequested{}},
		"what is queued is cancelled once":            {state: after(events.BackupCancelRequested{}), decide: cancelQueued, err: events.ErrNoChange},
		"what was cancelled in the queue is refused":  {state: after(events.BackupCancelRequested{}), decide: accept("h"), code: fault.Conflict},
		"and may be asked again":                      {state: after(events.BackupCancelRequested{}, events.BackupRejected{}), decide: accept("h"), want: requested},
		"what was never there is not cancelled":       {state: after(), decide: cancel, code: fault.BackupNotFound},
		"a cancelled backup has an end":               {state: after(requested, started, events.BackupCancelRequested{}), decide: backup.EndCancel, want: events.BackupCancelled{Attempt: 1}},
		"the next attempt of a cancelled backup":      {state: after(requested, started, events.BackupCancelRequested{}), decide: start, want: events.BackupCancelled{Attempt: 1}},
		"an end that nobody asked for":                {state: after(requested, started), decide: backup.EndCancel, err: events.ErrNoChange},
		"completing":                                  {state: after(requested, started), decide: complete(1), want: completed},
		"an old attempt is fenced":                    {state: after(requested, started, events.BackupStarted{Attempt: 2}), decide: complete(1), err: events.ErrFenced},
		"completing twice changes nothing":            {state: after(requested, started, completed), decide: complete(1), err: events.ErrNoChange},
		"another attempt has completed":               {state: after(requested, started, events.BackupStarted{Attempt: 2}, events.BackupCompleted{Attempt: 2}), decide: complete(1), err: events.ErrFenced},
		"a failure that may pass":                     {state: after(requested, started), decide: fail(1, true), want: again},
		"a failure that will not":                     {state: after(requested, started), decide: fail(1, false), want: final},
		"the last failure is final":                   {state: after(requested, events.BackupStarted{Attempt: 3}), decide: fail(3, true), want: events.BackupFailed{Attempt: 3, Retryable: true, Final: true}},
		"deleting":                                    {state: after(requested, started, completed), decide: backup.RequestDelete, want: events.BackupDeleteRequested{}},
		"deleting a failed one":                       {state: after(requested, started, final), decide: backup.RequestDelete, want: events.BackupDeleteRequested{}},
		"deleting goes on":                            {state: after(requested, started, completed, events.BackupDeleteRequested{}), decide: backup.RequestDelete, err: events.ErrNoChange},
		"deleting again after it failed":              {state: after(requested, started, completed, events.BackupDeleteRequested{}, events.BackupDeleteFailed{}), decide: backup.RequestDelete, want: events.BackupDeleteRequested{}},
		"a running backup is not deleted":             {state: after(requested, started), decide: backup.RequestDelete, code: fault.Conflict},
		"a backup between attempts is not deleted":    {state: after(requested, started, again), decide: backup.RequestDelete, code: fault.Conflict},
		"a held backup is not deleted":                {state: after(requested, started, completed, events.BackupHeld{}), decide: backup.RequestDelete, code: fault.Conflict},
		"a released backup is":                        {state: after(requested, started, completed, events.BackupHeld{}, events.BackupReleased{}), decide: backup.RequestDelete, want: events.BackupDeleteRequested{}},
		"what was deleted is not found":               {state: after(requested, started, completed, events.BackupDeleteRequested{}, events.BackupDeleted{}), decide: backup.RequestDelete, code: fault.BackupNotFound},
		"what was never there is not found":           {state: after(), decide: backup.RequestDelete, code: fault.BackupNotFound},
		"a deletion that nobody asked for has no end": {state: after(requested, started, completed), decide: func(s backup.State) (events.Event, error) { return backup.EndDelete(s, events.BackupDeleted{}) }, err: events.ErrNoChange},
		"three crashes are the end": {
			state: after(requested, started, events.BackupStarted{Attempt: 2}, events.BackupStarted{Attempt: 3}), decide: start,
			want: events.BackupFailed{Attempt: 3, Reason: events.ReasonCrashed, Final: true, Message: "The worker died in each of 3 attempts; its log and the log of the system say why"},
		},
	} {
		got, err := c.decide(c.state)
		switch {
		case c.code != "":
			if fault.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want code %s", name, err, c.code)
			}
		case !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want):
			t.Errorf("%s: %#v, %v; want %#v, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestReadable(t *testing.T) {
	for name, c := range map[string]struct {
		state backup.State
		code  fault.Code
	}{
		"completed": {after(requested, started, completed), ""},
		"running":   {after(requested, started), fault.Conflict},
		"failed":    {after(requested, started, final), fault.Conflict},
		"deleting":  {after(requested, started, completed, events.BackupDeleteRequested{}), fault.Conflict},
		"unknown":   {after(), fault.BackupNotFound},
	} {
		if err := backup.Readable(c.state); err == nil && c.code != "" || err != nil && fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

func TestSlots(t *testing.T) {
	a, b := events.Holder{Kind: "backup", ID: "a"}, events.Holder{Kind: "backup", ID: "b"}
	r, other, late := events.Holder{Kind: "restore", ID: "r", Exclusive: true}, events.Holder{Kind: "restore", ID: "s", Exclusive: true}, events.Holder{Kind: "backup", ID: "c"}
	errNotAlone := errors.New("not alone")
	alone := func(s backup.Slot, h events.Holder) error {
		if s.Alone(h) {
			return nil
		}
		return errNotAlone
	}
	slot := backup.Slot{}
	step := func(e events.Event, err error) error {
		if err == nil {
			slot = slot.Apply(events.Envelope{Event: e})
		}
		return err
	}
	for i, c := range []struct {
		err  error
		want error
		code fault.Code
	}{
		{err: step(backup.Acquire(slot, a))},
		{err: step(backup.Acquire(slot, a)), want: events.ErrNoChange},
		{err: step(backup.Acquire(slot, b))},
		{err: step(backup.Acquire(slot, r))}, // it waits, and nobody passes it
		{err: step(backup.Acquire(slot, other)), code: fault.Conflict},
		{err: step(backup.Acquire(slot, late)), code: fault.Conflict},
		{err: step(backup.Release(slot, a))},
		{err: step(backup.Release(slot, a)), want: events.ErrNoChange},
		{err: alone(slot, r), want: errNotAlone},
		{err: step(backup.Release(slot, b))},
		{err: alone(slot, r)},
		{err: step(backup.Acquire(slot, a)), code: fault.Conflict},
	} {
		if c.code != "" && fault.CodeOf(c.err) != c.code || c.code == "" && !errors.Is(c.err, c.want) {
			t.Errorf("step %d: %v, want %v %s", i, c.err, c.want, c.code)
		}
	}
	if len(slot.Holders) != 1 || slot.Holders[0] != r {
		t.Errorf("holders %v", slot.Holders)
	}
}

func TestIDs(t *testing.T) {
	one, two := backup.IDFor("k", "p", "x"), backup.IDFor("k", "p", "x")
	if one != two || !backup.ValidID(one) || one == backup.IDFor("k", "q", "x") || one == backup.IDFor("l", "p", "x") {
		t.Errorf("ids %s %s", one, two)
	}
	if a, b := backup.NewID(), backup.NewID(); a == b || !backup.ValidID(a) {
		t.Errorf("random ids %s %s", a, b)
	}
	if backup.ValidID("backup-123") || backup.ValidID("") {
		t.Error("bad ids pass")
	}
	at := time.Date(2026, 1, 19, 23, 30, 0, 0, time.FixedZone("", -3600))
	id := "backup-abcdefghijklmnopqrstuvwxyz"
	if got := backup.ObjectKey("p", "full", id, at, 1, false); got != "p/2026-01-20-full-abcdefghij.tar.gz" {
		t.Error(got)
	}
	if got := backup.ObjectKey("p", "full", id, at, 2, true); got != "p/2026-01-20-full-abcdefghij-a2.tar.gz.age" {
		t.Error(got)
	}
}
