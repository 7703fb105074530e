package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// writer applies events to a file. Only one writer may be open for a file, and one
// goroutine may use it.
type writer struct {
	*session
	words    map[string]int64
	backups  recent[catalog.Backup]
	restores recent[catalog.Restore]
	bulk     *bulk // of a file that is being built; nil later
}

// newWriter returns a writer, which the caller must close.
func newWriter(ctx context.Context, f *file) (*writer, error) {
	session, err := newSession(ctx, f.db)
	if err != nil {
		return nil, err
	}
	w := &writer{session: session, words: map[string]int64{}}
	err = w.each(ctx, "SELECT word, n FROM words", func(rs *sql.Rows) error {
		var word string
		var n int64
		err := rs.Scan(&word, &n)
		w.words[word] = n
		return err
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// apply writes what a batch of events changes, and the checkpoint, in one
// transaction. After an error the writer is of no more use.
func (w *writer) apply(ctx context.Context, batch []events.Envelope) error {
	c := newChanges(w)
	for _, env := range batch {
		if err := c.fold(ctx, env); err != nil {
			return fmt.Errorf("event %d (%s): %w", env.Revision, env.Event.EventType(), err)
		}
	}
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	last := batch[len(batch)-1]
	err := c.flush(ctx)
	if err == nil {
		err = w.exec(ctx, "UPDATE meta SET v = CASE k WHEN 'revision' THEN ? ELSE ? END WHERE k IN ('revision', 'event')", last.Revision.String(), last.ID)
	}
	if err != nil {
		return errors.Join(err, w.exec(context.WithoutCancel(ctx), "ROLLBACK"))
	}
	return w.exec(ctx, "COMMIT")
}

// word returns the number of a word, which it gives one if need be.
func (w *writer) word(ctx context.Context, word string) (int64, error) {
	if n := w.words[word]; n != 0 {
		return n, nil
	}
	n := int64(len(w.words) + 1)
	if err := w.exec(ctx, "INSERT INTO words VALUES (?, ?)", n, word); err != nil {
		return 0, err
	}
	w.words[word] = n
	return n, nil
}

// backup returns a backup as the file has it; nil if it has none.
func (w *writer) backup(ctx context.Context, id string) (*catalog.Backup, error) {
	if b, ok := w.backups.get(id); ok {
		return b, nil
	}
	if w.bulk == nil || w.bulk.rows == nil {
		return load[catalog.Backup](ctx, w, "SELECT doc FROM backups WHERE id = ?", id)
	}
	n, ok := w.bulk.row(id)
	if !ok {
		return nil, nil //nolint:nilnil // a backup that is not there
	}
	return load[catalog.Backup](ctx, w, "SELECT doc FROM backups WHERE n = ?", n)
}

// restore returns a restore as the file has it; nil if it has none.
func (w *writer) restore(ctx context.Context, id string) (*catalog.Restore, error) {
	if r, ok := w.restores.get(id); ok {
		return r, nil
	}
	return load[catalog.Restore](ctx, w, "SELECT doc FROM restores WHERE id = ?", id)
}

// load decodes the document of a row; nil if there is none.
func load[T any](ctx context.Context, w *writer, query string, args ...any) (*T, error) {
	s, err := w.stmt(ctx, query) //nolint:sqlclosecheck // is closed with the writer
	if err != nil {
		return nil, err
	}
	var doc []byte
	err = s.QueryRowContext(ctx, args...).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // not there
	}
	if err != nil {
		return nil, err
	}
	v := new(T)
	return v, json.Unmarshal(doc, v)
}

// recent keeps the rows that were written last, of which the next events are likely to
// be. A nil row is one that is not there.
type recent[T any] struct{ young, old map[string]*T }

// maxRecent is how many rows half of a recent holds.
const maxRecent = 1000

func (r *recent[T]) get(id string) (*T, bool) {
	if v, ok := r.young[id]; ok {
		return v, true
	}
	v, ok := r.old[id]
	return v, ok
}

func (r *recent[T]) put(id string, v *T) {
	if r.young == nil || len(r.young) >= maxRecent {
		r.young, r.old = make(map[string]*T, maxRecent), r.young
	}
	r.young[id] = v
}
