package project

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
)

// databaseDump writes one database and takes its fingerprint, in the same snapshot.
type databaseDump struct {
	p     *DatabasePart
	s     *Session
	w     *archive.Writer
	t     *tally
	name  string // of the database
	begun bool   // something is in the archive
}

// dump writes one database. It begins again with a new snapshot when other sessions
// have changed tables, functions or types before all of them were read, which is
// certain before the first byte of the dump.
func (p *DatabasePart) dump(ctx context.Context, s *Session, w *archive.Writer, t *tally, name string) (*fingerprint, error) {
	d := databaseDump{p: p, s: s, w: w, t: t, name: name}
	if _, err := s.find(ctx, "pg_dump"); err != nil { // takes its time, which no snapshot should wait for
		return nil, err
	}
	for try := 1; ; try++ {
		f, err := d.run(ctx)
		var stale *staleError
		switch {
		case !errors.As(err, &stale):
			return f, err
		case try == snapshotTries || d.begun:
			return nil, stale.err
		}
		if err := errors.Join(pause(ctx, try), s.renew(ctx)); err != nil {
			return nil, err
		}
	}
}

// run lets pg_dump write the dump. The objects are listed while it reads the catalogs,
// the rows are counted while it writes them.
func (d *databaseDump) run(ctx context.Context) (*fingerprint, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := newFingerprint(d.s)
	var states map[uint32]tableState
	described := begin(func() (err error) {
		if states, err = readStates(ctx, d.s.tx); err != nil {
			return describeError(err)
		}
		return f.describe(ctx, d.s)
	})
	var counted *task
	// pg_dump has all its locks and has read all catalogs when it writes its first byte.
	ready := func() error {
		if err := d.described(ctx, described); err != nil {
			return err
		}
		if err := d.lockMembers(ctx, f); err != nil {
			return err
		}
		if err := d.s.unchanged(ctx, states); err != nil {
			return err
		}
		d.begun, d.s.used = true, true
		counted = begin(func() error { return f.count(ctx, d.s) })
		return nil
	}
	dump, err := d.pgDump(ctx, ready)
	if err != nil {
		cancel()
		return nil, cause(err, described.wait(), counted.wait())
	}
	if err := counted.wait(); err != nil {
		return nil, err
	}
	return f, errors.Join(d.complete(f, dump), d.extensionRows(ctx, f))
}

// described waits for the list of objects while pg_dump waits for us. The definition of a
// view can only be read with locks: if the list waits for one behind a session that itself
// waits for pg_dump, it would wait for ever.
func (d *databaseDump) described(ctx context.Context, list *task) error {
	for blocked := 0; blocked < 2; {
		select {
		case <-list.ended:
			return list.err
		case <-time.After(time.Second):
		}
		yes, err := d.s.blocked(ctx)
		if err != nil {
			return err
		}
		blocked = map[bool]int{true: blocked + 1}[yes]
	}
	return &staleError{lost(nil, "Each time that the backup began, another session held a lock without which the objects of the database cannot be listed.")}
}

// task is what runs beside its caller.
type task struct {
	ended chan struct{}
	err   error // once it has ended
}

func begin(f func() error) *task {
	t := &task{ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		t.err = f()
	}()
	return t
}

// wait waits for the end and returns the error. It may be called again, and of nil.
func (t *task) wait() error {
	if t == nil {
		return nil
	}
	<-t.ended
	return t.err
}

// cause returns which error made the others: pg_dump cannot have the snapshot of a
// session whose own query has failed.
func cause(dump error, session ...error) error {
	for _, err := range session {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return dump
}

// pgDump writes the dump. It calls ready before it writes anything.
func (d *databaseDump) pgDump(ctx context.Context, ready func() error) (dump *pgcustom.Dump, err error) {
	args := []string{"--format=custom", "--compress=0", "--snapshot=" + d.s.id}
	if d.p.LockTimeout > 0 {
		args = append(args, "--lock-wait-timeout="+strconv.FormatInt(d.p.LockTimeout.Milliseconds(), 10))
	}
	var out *archive.PieceWriter
	join := func(stdout io.Reader) error {
		in := bufio.NewReader(stdout)
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		err := ready()
		if err != nil {
			return err
		}
		if out, err = d.w.Pieces(archive.Entry{Name: "database/" + fileName(d.name) + dumpSuffix, Mode: 0o755, ModTime: time.Now()}); err != nil {
			return err
		}
		dump, err = pgcustom.Copy(out, in)
		return err
	}
	err = d.s.tool(ctx, join, "pg_dump", args...)
	var e *Error
	switch {
	case err == nil:
		return dump, out.Close()
	case errors.As(err, &e) && isRace(err):
		e.Retry = true
		return nil, &staleError{e}
	}
	return nil, err
}

// complete puts into the fingerprint what the dump knows better than the server: the
// rows of tables that could not be counted, and where sequences stand, which is no part
// of a snapshot.
func (d *databaseDump) complete(f *fingerprint, dump *pgcustom.Dump) error {
	if dump != nil {
		for _, t := range dump.Tables {
			name, ok := f.names[relationName{t.Schema, t.Name}]
			if _, uncounted := f.uncounted[name]; ok && uncounted {
				f.Tables[name] = t.Count
				delete(f.uncounted, name)
			}
		}
		for _, q := range dump.Sequences {
			name, ok := f.names[relationName{q.Schema, q.Name}]
			if _, listed := f.Sequences[name]; ok && listed {
				f.Sequences[name] = nil
				if q.Called {
					f.Sequences[name] = &q.Last
				}
			}
		}
	}
	for name, why := range f.uncounted {
		if err := d.t.note(rowsUncounted, name, "The rows of the table %s could not be counted (%v), so a restore cannot compare them.", name, why); err != nil {
			return err
		}
	}
	return nil
}
