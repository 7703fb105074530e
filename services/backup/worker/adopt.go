package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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
// time. With projects it leaves out all others.
func (w *Worker) Adopt(ctx context.Context, name string, projects []string) (all []Adoption, err error) {
	store, ok := w.cfg.Destinations[name]
	if !ok {
		return nil, fault.Errorf(fault.Invalid, "The destination %s is not configured; there is %v", name, w.destinations())
	}
	for info, err := range store.List(ctx, "") {
		if err != nil {
			return all, err
		}
		o, ours := backup.ParseKey(info.Key)
		if !ours || !o.Sidecar || len(projects) > 0 && !slices.Contains(projects, o.Project) {
			continue
		}
		a, err := w.adopt(ctx, name, store, o)
		if err != nil {
			return all, fmt.Errorf("%s: %w", info.Key, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// adopt records the backup of one sidecar. What is wrong with the sidecar is said
// in the Adoption.
func (w *Worker) adopt(ctx context.Context, name string, store destination.Store, o backup.Object) (Adoption, error) {
	a := Adoption{Key: o.Archive}
	side, err := readSidecar(ctx, store, o)
	if errors.Is(err, errSidecar) {
		a.Why = err.Error()
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.ID = side.ID
	info, err := store.Stat(ctx, o.Archive)
	switch {
	case errors.Is(err, destination.ErrNotExist):
		a.Why = "the archive is not there"
		return a, nil
	case err != nil:
		return a, err
	case info.Size != side.Size:
		a.Why = fmt.Sprintf("the archive has %d bytes, its sidecar says %d", info.Size, side.Size)
		return a, nil
	}
	e := events.BackupAdopted{Pool: w.cfg.Pool, Type: side.Type, Destination: name, CreatedAt: side.CreatedAt, EndedAt: info.ModTime.UTC(), Completed: side.BackupCompleted, BodyHash: side.BodyHash}
	e.Completed.Pool, e.Completed.Path = w.cfg.Pool, info.Path
	if e.EndedAt.Before(e.CreatedAt) {
		e.EndedAt = e.CreatedAt
	}
	_, err = events.Update(ctx, w.log, events.BackupAggregate(side.Project, side.ID), events.Cause{Actor: "system"}, func(s backup.State) (events.Event, error) {
		return backup.Adopt(s, e)
	})
	switch {
	case errors.Is(err, events.ErrNoChange):
		a.Known = true
		return a, nil
	case errors.Is(err, events.ErrBroken):
		a.Why = unreadable
		return a, nil
	}
	a.Adopted = err == nil
	return a, err
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
	if err := json.Unmarshal(b, &side); err != nil {
		return side, fmt.Errorf("%w: %w", errSidecar, err)
	}
	switch {
	case side.Format != backup.SidecarFormat:
		return side, fmt.Errorf("%w: its format is %d, this version knows %d", errSidecar, side.Format, backup.SidecarFormat)
	case !backup.ValidID(side.ID) || backup.Short(side.ID) != o.Short || side.Project != o.Project || side.Key != o.Archive || side.Attempt != o.Attempt:
		return side, fmt.Errorf("%w: it describes another archive", errSidecar)
	case !slices.Contains(backup.Types(), side.Type) || side.CreatedAt.IsZero() || side.Size <= 0 || len(side.SHA256) != 64:
		return side, fmt.Errorf("%w: something is missing in it", errSidecar)
	}
	return side, nil
}
