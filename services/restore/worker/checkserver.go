package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
)

// identifyTimeout is how long the databases of all projects may take to say who they
// are.
const identifyTimeout = 15 * time.Second

// checkServer notes which database the project leads to, and looks whether another
// project of the configuration has the same one: a restore of the database would
// replace it under that project. A database that does not answer is not looked at; of
// the own one other checks say so.
func (at *attempt) checkServer(ctx context.Context) []events.RestoreCheck {
	parts := at.state.Request.Parts
	restored := slices.Contains(parts, project.Database)
	if at.found.Server == nil || !restored && !slices.Contains(parts, project.Config) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	own, _, err := at.found.Server.Identify(ctx)
	if err != nil {
		return nil
	}
	at.identity = own
	if !restored {
		return nil
	}
	check := events.RestoreCheck{Name: "shared_database", OK: true}
	for id, other := range at.w.identities(ctx, at.project.ID) {
		if other == own {
			check.OK = false
			check.Sentence = fmt.Sprintf("The project %s leads to the same database %s of the same server, so the restore would replace it there as well; mend the compose files or database.url of one of the two.", id, own.Database)
		}
	}
	return []events.RestoreCheck{check}
}

// checkFolders looks whether the restore would change files of another project of the
// configuration.
func (at *attempt) checkFolders(ctx context.Context) []events.RestoreCheck {
	if len(at.w.projects) == 1 {
		return nil
	}
	found := map[string]project.Project{}
	for id, p := range at.w.projects {
		if found[id] = at.found; id != at.project.ID {
			found[id] = p.Resolve(ctx)
		}
	}
	check := events.RestoreCheck{Name: "shared_folder", OK: true}
	for _, o := range project.Overlaps(found) {
		if o.Project == at.project.ID && slices.Contains(at.state.Request.Parts, o.Part) {
			check.OK, check.Sentence = false, strings.TrimSpace(check.Sentence+" "+o.Sentence)
		}
	}
	return []events.RestoreCheck{check}
}

// checkLeads looks, after the configuration has come back, whether the project still
// leads to its database. It fails if the project leads to another one by now, and
// warns if it leads to where none answers.
func (at *attempt) checkLeads(ctx context.Context) error {
	if at.identity == (project.Identity{}) || !slices.Contains(at.state.Request.Parts, project.Config) {
		return nil
	}
	now := at.project.Resolve(ctx).Server
	if now == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	id, _, err := now.Identify(ctx)
	if err == nil && id != at.identity {
		return misfit("The configuration of the backup leads to another database server than the project's own, so it was not kept; restore the other parts without config, or bring the services to where the backup expects them")
	}
	if err != nil {
		at.warned.add(archive.Warning{Part: project.Config, Code: "database_elsewhere", Sentence: "With the restored configuration the database cannot be reached as before: " + project.Sentence(err) + " Start the project's services with the restored files, and run `holdfastd config check --connect`."})
	}
	return nil
}

// identities asks the databases of all projects but one, side by side.
func (w *Worker) identities(ctx context.Context, except string) map[string]project.Identity {
	found := map[string]project.Identity{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, 16)
	for _, id := range slices.Sorted(maps.Keys(w.projects)) {
		if id == except {
			continue
		}
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			server := w.projects[id].Resolve(ctx).Server
			if server == nil {
				return
			}
			if identity, _, err := server.Identify(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				found[id] = identity
			}
		})
	}
	wg.Wait()
	return found
}
