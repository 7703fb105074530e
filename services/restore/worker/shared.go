package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
)

// identifyTimeout is how long the databases of all projects may take to say who they
// are.
const identifyTimeout = 15 * time.Second

// checkShared looks whether another project of the configuration has the same
// database: the restore would replace it under that project. It also notes which
// database the restore is for. A database that does not answer is not looked at; of
// the own one other checks say so.
func (at *attempt) checkShared(ctx context.Context) events.RestoreCheck {
	check := events.RestoreCheck{Name: "shared_database", OK: true}
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	own, _, err := at.found.Server.Identify(ctx)
	if err != nil {
		return check
	}
	at.identity = own
	for id, other := range at.w.identities(ctx, at.project.ID) {
		if other == own {
			check.OK = false
			check.Sentence = fmt.Sprintf("The project %s leads to the same database %s of the same server, so the restore would replace it there as well; mend the compose files or database.url of one of the two.", id, own.Database)
		}
	}
	return check
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
