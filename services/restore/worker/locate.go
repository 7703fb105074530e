package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// location is where the parts of a project were when their swap began.
type location struct {
	Project   json.RawMessage  // as [project.Project.Save] writes it
	Identity  project.Identity // of the database; zero if it did not say
	Passwords *passwords       // of the services; nil if nothing is done about them
}

// locationFile is where a restore keeps its location.
func (w *Worker) locationFile(id string) string { return filepath.Join(w.cfg.Dir, id+".project.json") }

// locate finds the parts of the project: as they are now, or, once the swap has
// begun, where they were then, since the files that say so may be on their way.
func (at *attempt) locate(ctx context.Context) error {
	b, err := os.ReadFile(at.w.locationFile(at.a.ID))
	if errors.Is(err, fs.ErrNotExist) || !at.state.Done(restore.Ready) {
		at.found = at.project.Resolve(ctx)
		return nil
	}
	var l location
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return fmt.Errorf("where the parts are: %w", err)
	}
	if at.found, err = project.Load(l.Project); err != nil {
		return err
	}
	at.identity, at.passwords = l.Identity, l.Passwords
	servers := []*project.Server{at.passwords.on(at.found.Server), at.passwords.on(at.project.Resolve(ctx).Server)}
	if at.state.Completed != nil { // the files have come to rest, and passwords may have changed
		servers[0], servers[1] = servers[1], servers[0]
	}
	at.found.Server = sameServer(ctx, l.Identity, servers)
	return nil
}

// sameServer returns the first of the servers that has the database of this identity.
// One that cannot be reached may have it; one that has another never is returned.
func sameServer(ctx context.Context, want project.Identity, servers []*project.Server) *project.Server {
	var away *project.Server
	for _, s := range servers {
		if s == nil {
			continue
		}
		if want == (project.Identity{}) {
			return s
		}
		id, _, err := s.Identify(ctx)
		switch {
		case err == nil && id == want:
			return s
		case err != nil && away == nil:
			away = s
		}
	}
	if away != nil {
		return away
	}
	return &project.Server{URL: func(context.Context) (string, error) { return "", errOtherServer }}
}

var errOtherServer = errors.New("the project leads to another database server than the one that the restore began with; mend the compose files or database.url")

// keepLocation writes where the parts are, before the first of them is swapped. It
// fails if the project leads to another database by now.
func (at *attempt) keepLocation(ctx context.Context) error {
	l := location{Identity: at.identity, Passwords: at.passwords}
	if at.identity != (project.Identity{}) {
		now, _, err := at.found.Server.Identify(ctx)
		if err != nil {
			return err
		}
		if now != at.identity {
			return misfit("Nothing was changed: %v", errOtherServer)
		}
	}
	var err error
	if l.Project, err = at.found.Save(ctx); err != nil {
		return err
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	name := at.w.locationFile(at.a.ID)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return fmt.Errorf("keep where the parts are: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("keep where the parts are: %w", err)
	}
	at.found.Server = at.passwords.on(at.found.Server)
	return nil
}

// forgetLocation removes what keepLocation has written, once nothing is swapped any
// more.
func (at *attempt) forgetLocation() {
	if err := os.Remove(at.w.locationFile(at.a.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		at.l.Warn("left behind", zap.Error(err))
	}
}
