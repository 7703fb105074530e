package project

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dev/holdfast/archive"
)

// rowsSuffix stands before the number of a file with rows of an extension.
const rowsSuffix = ".extrows."

// memberLockTimeout is how long to wait for locks on the tables of extensions. Who holds one
// of them may be waiting for pg_dump, which waits meanwhile.
const memberLockTimeout = 5 * time.Second

// lockMembers locks the tables whose rows are written after those of pg_dump, which does
// not lock them itself, until they have been written.
func (d *databaseDump) lockMembers(ctx context.Context, f *fingerprint) error {
	timeout := memberLockTimeout
	if d.p.LockTimeout > 0 {
		timeout = min(timeout, d.p.LockTimeout)
	}
	if _, err := d.s.tx.Exec(ctx, "SAVEPOINT members"); err != nil {
		return wrapSQL(err)
	}
	err := d.s.lock(ctx, timeout, f.carried()...)
	if isCode(err, lockNotAvailable) {
		return &staleError{err}
	}
	return err
}

// extensionRows writes the rows of extensions that pg_dump does not write, a file for each
// table that has some.
func (d *databaseDump) extensionRows(ctx context.Context, f *fingerprint) error {
	path, err := d.s.widePath(ctx)
	if err != nil {
		return err
	}
	files := 0
	for _, t := range f.ExtensionTables {
		if t.kind != "r" || len(t.Columns) == 0 {
			continue // rows of a partitioned table are in its partitions
		}
		out := &lazyPieces{w: d.w, name: fmt.Sprintf("%s%s%04d", fileName(d.name), rowsSuffix, files+1)}
		err := errUnreadable
		if t.readable {
			t.Rows, err = d.s.copyRows(ctx, t, path, out)
		}
		if out.p != nil {
			files++
			t.File = out.name
			err = errors.Join(err, out.p.Close())
		}
		switch {
		case err == nil:
		case out.p != nil || d.s.conn.IsClosed() || errors.Is(err, errRewritten) || isCode(err, lockNotAvailable):
			return lost(err, "The rows of the table %s of the extension %s could not be read as they were at the beginning of the backup.", t.label, t.Extension)
		default:
			if err := d.t.note(extensionRowsMissing, t.label, "The rows of the table %s of the extension %s are not in the backup: %v.", t.label, t.Extension, err); err != nil {
				return err
			}
		}
	}
	_, err = d.s.tx.Exec(ctx, "ROLLBACK TO SAVEPOINT members")
	return wrapSQL(err)
}

var errUnreadable = errors.New("the role may not read it; connect as a superuser, such as supabase_admin")

// copyRows writes the rows of a table in the snapshot that pg_dump does not write, as COPY
// writes them, and returns how many there were.
func (s *Session) copyRows(ctx context.Context, t *extensionTable, path string, out *lazyPieces) (n int64, err error) {
	from := t.label + " (" + identifiers(t.Columns) + ")"
	if t.Outside {
		from = "(SELECT " + identifiers(t.Columns) + " FROM ONLY " + t.label + t.others() + ")"
	}
	err = s.tentatively(ctx, func() error {
		if _, err := s.tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true), set_config('search_path', $2, true)", memberLockTimeout.String(), path); err != nil {
			return err
		}
		if _, err := s.tx.Exec(ctx, "LOCK TABLE ONLY "+t.label+" IN ACCESS SHARE MODE"); err != nil {
			return err
		}
		if err := s.sameFile(ctx, relationName{t.Schema, t.Name}); err != nil {
			return err
		}
		var tag pgconn.CommandTag
		tag, err := s.conn.PgConn().CopyTo(ctx, out, "COPY "+from+" TO STDOUT")
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// lazyPieces is a streamed file of an archive that begins with its first byte.
type lazyPieces struct {
	w    *archive.Writer
	name string
	p    *archive.PieceWriter
}

// Write implements io.Writer.
func (l *lazyPieces) Write(b []byte) (n int, err error) {
	if l.p == nil {
		if l.p, err = l.w.Pieces(archive.Entry{Name: "database/" + l.name, Mode: 0o755, ModTime: time.Now()}); err != nil {
			return 0, err
		}
	}
	return l.p.Write(b)
}
