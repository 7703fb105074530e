package projection

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// changes is what a batch of events makes of a file. Events are folded in memory, so
// that a row is written once however many of them are its own.
type changes struct {
	w        *writer
	backups  changed[catalog.Backup]
	restores changed[catalog.Restore]
	projects changed[catalog.Project]

	durations map[duration]duration // by type and bucket; the value has the sums
	success   map[string]ended
	restored  map[[2]string]int64 // by project and status
	broken    []events.Revision
	skipped   map[string]bool
}

// ended is the end of the newest completed backup of a project.
type ended struct {
	at      int64
	inOrder bool // it is the newest in the order of the log; otherwise the latest of those that were adopted
}

func newChanges(w *writer) *changes {
	return &changes{w: w, durations: map[duration]duration{}, success: map[string]ended{}, restored: map[[2]string]int64{}, skipped: map[string]bool{}}
}

// change is a row before and after a batch; nil is one that is not there.
type change[T any] struct {
	id            string
	before, after *T
}

// changed are the rows that a batch has touched, in the order in which it did.
type changed[T any] struct {
	byID map[string]*change[T]
	list []*change[T]
}

// of returns the row of an id, which read returns as the file has it.
func (c *changed[T]) of(ctx context.Context, id string, read func(context.Context, string) (*T, error)) (*change[T], error) {
	if x := c.byID[id]; x != nil {
		return x, nil
	}
	before, err := read(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.byID == nil {
		c.byID = map[string]*change[T]{}
	}
	x := &change[T]{id, before, before}
	c.byID[id], c.list = x, append(c.list, x)
	return x, nil
}

// fold applies an event to what was changed before.
func (c *changes) fold(ctx context.Context, env events.Envelope) error {
	switch e := env.Event.(type) {
	case events.Broken:
		return c.setAside(ctx, env)
	case events.Unknown:
		c.skipped[e.Type] = true
	}
	switch env.Aggregate.Kind {
	case events.KindProject:
		return c.foldProject(ctx, env)
	case events.KindBackup:
		return c.foldBackup(ctx, env)
	case events.KindRestore:
		return c.foldRestore(ctx, env)
	}
	return nil // of no interest
}

func (c *changes) foldProject(ctx context.Context, env events.Envelope) error {
	id := env.Aggregate.Project
	switch e := env.Event.(type) {
	case events.ProjectRegistered:
		x, err := c.projects.of(ctx, id, unread)
		if err != nil {
			return err
		}
		x.after = &catalog.Project{ID: id, ProjectRegistered: e}
	case events.ProjectRemoved:
		x, err := c.projects.of(ctx, id, unread)
		if err != nil {
			return err
		}
		x.after = nil
	}
	return nil
}

// unread is for rows of which nobody needs to know what they were.
func unread(context.Context, string) (*catalog.Project, error) { return nil, nil } //nolint:nilnil // not there

func (c *changes) foldBackup(ctx context.Context, env events.Envelope) error {
	x, err := c.backups.of(ctx, env.Aggregate.ID, c.w.backup)
	if err != nil {
		return err
	}
	if x.after != nil && x.after.Project != env.Aggregate.Project {
		c.broken = append(c.broken, env.Revision) // about an id that is not its project's own
		return nil
	}
	x.after = foldBackup(x.after, env)
	if x.after == nil {
		return nil // rejected, deleted, or of a later version
	}
	b := x.after
	switch e := env.Event.(type) {
	case events.BackupCompleted:
		c.success[b.Project] = ended{nanos(env.Time), true} // in the order of the log, whatever the clocks say
		c.observe(*b)
	case events.BackupAdopted: // how long it took is not known, and it ended at any time before
		now := min(nanos(env.Time), nanos(e.EndedAt))
		last, ok := c.success[b.Project]
		if !ok {
			last.at = math.MinInt64
		}
		c.success[b.Project] = ended{max(last.at, now), last.inOrder}
	}
	return nil
}

func (c *changes) foldRestore(ctx context.Context, env events.Envelope) error {
	x, err := c.restores.of(ctx, env.Aggregate.ID, c.w.restore)
	if err != nil {
		return err
	}
	if x.after != nil && x.after.Project != env.Aggregate.Project {
		c.broken = append(c.broken, env.Revision) // as above
		return nil
	}
	before := x.after
	x.after = foldRestore(before, env)
	if r := x.after; r != nil && before != nil && before.Ended.IsZero() && !r.Ended.IsZero() && !r.DryRun {
		c.restored[[2]string{r.Project, string(r.Status)}] = nanos(r.Ended) // the newest in the order of the log
	}
	return nil
}

// setAside notes an event that cannot be decoded, and which backup or restore it
// belongs to. Everything else goes on.
func (c *changes) setAside(ctx context.Context, env events.Envelope) error {
	c.broken = append(c.broken, env.Revision)
	switch env.Aggregate.Kind {
	case events.KindBackup:
		x, err := c.backups.of(ctx, env.Aggregate.ID, c.w.backup)
		if err != nil {
			return err
		}
		if x.after != nil && x.after.Project == env.Aggregate.Project {
			b := *x.after
			b.Broken, b.Revision = env.Revision, env.Revision
			x.after = &b
		}
	case events.KindRestore:
		x, err := c.restores.of(ctx, env.Aggregate.ID, c.w.restore)
		if err != nil {
			return err
		}
		if x.after != nil && x.after.Project == env.Aggregate.Project {
			r := *x.after
			r.Broken, r.Revision = env.Revision, env.Revision
			x.after = &r
		}
	}
	return nil
}

// duration counts completed backups of a type that took so long.
type duration struct {
	typ    string
	bucket int // index of the first of [catalog.DurationBuckets] that is not shorter; their number if all are

	count, nanos int64
}

func (c *changes) observe(b catalog.Backup) {
	took := b.Ended.Sub(b.Created)
	k := duration{typ: b.Type}
	for _, bound := range catalog.DurationBuckets() {
		if took.Seconds() > bound {
			k.bucket++
		}
	}
	d := c.durations[k]
	d.count, d.nanos = d.count+1, d.nanos+int64(took)
	c.durations[k] = d
}

// nanos is a time as rows have it. What lies outside of the times that can be is before
// or after all of them.
func nanos(t time.Time) int64 {
	switch y := t.UTC().Year(); {
	case y < 1700:
		return math.MinInt64
	case y > 2250:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
