package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// projectFile is where a restore keeps where the parts of its project are.
func (w *Worker) projectFile(id string) string { return filepath.Join(w.cfg.Dir, id+".project.json") }

// locate finds the parts of the project: as they are now, or, once the swap has
// begun, where they were then, since the files that say so may be on their way.
func (at *attempt) locate(ctx context.Context) error {
	b, err := os.ReadFile(at.w.projectFile(at.a.ID))
	if errors.Is(err, fs.ErrNotExist) || !at.state.Done(restore.Ready) {
		at.found = at.project.Resolve(ctx)
		return nil
	}
	if err != nil {
		return err
	}
	saved, err := project.Load(b)
	if err != nil {
		return err
	}
	at.found = saved
	if at.state.Completed != nil || saved.Server == nil { // the password may have changed since
		if now := at.project.Resolve(ctx).Server; now != nil {
			at.found.Server = now.Or(saved.Server)
		}
	}
	return nil
}

// keepLocation writes where the parts are, before the first of them is swapped.
func (at *attempt) keepLocation(ctx context.Context) error {
	b, err := at.found.Save(ctx)
	if err != nil {
		return err
	}
	name := at.w.projectFile(at.a.ID)
	if err := errors.Join(os.WriteFile(name+".new", b, 0o600), os.Rename(name+".new", name)); err != nil {
		return fmt.Errorf("keep where the parts are: %w", err)
	}
	return nil
}

// forgetLocation removes what keepLocation has written, once nothing is swapped any
// more.
func (at *attempt) forgetLocation() {
	if err := os.Remove(at.w.projectFile(at.a.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		at.l.Warn("left behind", zap.Error(err))
	}
}
