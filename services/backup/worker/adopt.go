package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Adoption is what became of a sidecar.
type Adoption struct {
	Key     string // of the archive
	ID      string // of the backup; "" if the sidecar could not be read
	Adopted bool
	Known   bool // the log knew the backup
	Why     string
}

// Adopt records the backups at a destination that the log does not know, from the
// sidecars beside their archives. What it has done once it finds known the next
// time. With projects it leaves out all others. An id belongs to the project that
// first had it: what claims the id of another project's backup is refused, and so are two
// projects that claim one which the log does not know.
func (w *Worker) Adopt(ctx context.Context, feed events.Feed, name string, projects []string) ([]Adoption, error) {
	store, ok := w.cfg.Destinations[name]
	if !ok {
		return nil, fault.Errorf(fault.Invalid, "The destination %s is not configured; there is %s", name, strings.Join(w.destinations(), ", "))
	}
	a := adopter{w: w, store: store, destination: name, claims: map[string][]string{}}
	if err := a.list(ctx); err != nil {
		return nil, err
	}
	var err error
	if a.owners, err = owners(ctx, feed); err != nil {
		return nil, err
	}
	var all []Adoption
	for _, o := range a.sidecars {
		if len(projects) > 0 && !slices.Contains(projects, o.Project) {
			continue
		}
		done, err := a.adopt(ctx, o)
		if err != nil {
			return all, fmt.Errorf("%s: %w", backup.SidecarKey(o.Archive), err)
		}
		all = append(all, done)
	}
	return all, nil
}

// adopter records what one destination holds.
type adopter struct {
	w           *Worker
	store       destination.Store
	destination string
	sidecars    []backup.Object
	claims      map[string][]string // projects by the short ids of their sidecars, each once
	owners      map[string]string   // projects by the ids of backups that the log knows
}

// list finds all sidecars.
func (a *adopter) list(ctx context.Context) error {
	for info, err := range a.store.List(ctx, "") {
		if err != nil {
			return err
		}
		o, ours := backup.ParseKey(info.Key)
		if !ours || !o.Sidecar {
			continue
		}
		a.sidecars = append(a.sidecars, o)
		if c := a.claims[o.Short]; !slices.Contains(c, o.Project) {
			a.claims[o.Short] = append(c, o.Project)
		}
	}
	return nil
}

// owners returns which project each backup of the log belongs to: the one that first
// had it.
func owners(ctx context.Context, feed events.Feed) (map[string]string, error) {
	all := map[string]string{}
	err := wholeLog(ctx, feed, func(env events.Envelope) {
		if a := env.Aggregate; a.Kind == events.KindBackup && all[a.ID] == "" {
			all[a.ID] = a.Project
		}
	})
	return all, err
}

// conflict says why an id does not belong to the project of a sidecar, or nothing.
func (a *adopter) conflict(side backup.Sidecar) string {
	switch owner := a.owners[side.ID]; {
	case owner == side.Project:
		return ""
	case owner != "":
		return fmt.Sprintf("the backup %s belongs to the project %s, not to %s", side.ID, owner, side.Project)
	}
	if c := a.claims[backup.Short(side.ID)]; len(c) > 1 {
		return fmt.Sprintf("the projects %s all claim the backup %s, and the log knows none of them; remove the sidecars that are wrong", strings.Join(slices.Sorted(slices.Values(c)), ", "), backup.Short(side.ID))
	}
	return ""
}

// adopt records the backup of one sidecar. What is wrong with the sidecar is said
// in the Adoption.
func (a *adopter) adopt(ctx context.Context, o backup.Object) (Adoption, error) {
	out := Adoption{Key: o.Archive}
	side, err := readSidecar(ctx, a.store, o)
	if errors.Is(err, errSidecar) {
		out.Why = err.Error()
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.ID = side.ID
	if out.Why = a.conflict(side); out.Why != "" {
		return out, nil
	}
	info, err := a.store.Stat(ctx, o.Archive)
	switch {
	case errors.Is(err, destination.ErrNotExist):
		out.Why = "the archive is not there"
		return out, nil
	case err != nil:
		return out, err
	case info.Size != side.Size:
		out.Why = fmt.Sprintf("the archive has %d bytes, its sidecar says %d", info.Size, side.Size)
		return out, nil
	}
	_, err = events.Update(ctx, a.w.log, events.BackupAggregate(side.Project, side.ID), events.Cause{Actor: "system"}, func(s backup.State) (events.Event, error) {
		return backup.Adopt(s, a.event(side, info))
	})
	switch {
	case errors.Is(err, events.ErrNoChange):
		out.Known = true
		return out, nil
	case errors.Is(err, events.ErrBroken):
		out.Why = unreadable
		return out, nil
	}
	out.Adopted = err == nil
	return out, err
}

// event is what the log gets to know of a sidecar.
func (a *adopter) event(side backup.Sidecar, info destination.Info) events.BackupAdopted {
	pool := a.w.cfg.Pool
	e := events.BackupAdopted{Pool: pool, Type: side.Type, Destination: a.destination, CreatedAt: side.CreatedAt, EndedAt: info.ModTime.UTC(), Completed: side.BackupCompleted, BodyHash: side.BodyHash}
	e.Completed.Pool, e.Completed.Path = pool, info.Path
	if e.EndedAt.Before(e.CreatedAt) || events.CheckTime("modified", e.EndedAt) != nil {
		e.EndedAt = e.CreatedAt
	}
	return e
}

// errSidecar is wrapped by what is wrong with a sidecar itself.
var errSidecar = errors.New("the sidecar is not one of Holdfast's")

// maxSidecar is the size of the largest; an event is smaller.
const maxSidecar = 256 << 10

func readSidecar(ctx context.Context, store destination.Store, o backup.Object) (side backup.Sidecar, err error) {
	r, err := store.Open(ctx, backup.SidecarKey(o.Archive), 0, maxSidecar)
	if err != nil {
		return side, err
	}
	defer r.Close() //nolint:errcheck // a reader
	b, err := io.ReadAll(io.LimitReader(r, maxSidecar))
	if err != nil {
		return side, err
	}
	if err = json.Unmarshal(b, &side); err == nil {
		err = backup.CheckSidecar(side, o, time.Now())
	}
	if err != nil {
		return side, fmt.Errorf("%w: %w", errSidecar, err)
	}
	return side, nil
}
