package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// pools knows which pools of workers have work, and since when some have no worker.
type pools struct {
	mu      sync.Mutex
	without map[string]time.Time // pools without a worker, since when
	work    map[string]catalog.PoolWork
	all     []string // that were looked at

	noRestorer map[string]time.Time // pools without a worker for restores, since when
}

const (
	poolsEvery = 5 * time.Second
	poolsBrief = 20 * time.Second // a worker may be restarted
)

// watchPools looks after the pools until ctx ends.
func (g *Gateway) watchPools(ctx context.Context) {
	for g.b.Alive != nil {
		g.lookAtPools(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(poolsEvery):
		}
	}
}

func (g *Gateway) lookAtPools(ctx context.Context) {
	projects, err := g.b.Catalog.Projects(ctx, catalog.Projects{})
	if err != nil {
		return // /readyz says so
	}
	f, err := g.b.Catalog.Figures(ctx, catalog.Figures{})
	if err != nil {
		return
	}
	work := map[string]catalog.PoolWork{}
	for _, p := range projects {
		work[p.Pool] = catalog.PoolWork{Pool: p.Pool}
	}
	for _, w := range f.Work {
		work[w.Pool] = w
	}
	for pool, w := range work {
		g.pools.note(g.pools.noRestorer, pool, g.b.Alive(ctx, restore.Service, pool))
		if g.pools.note(g.pools.without, pool, g.b.Alive(ctx, backup.Service, pool)) {
			g.cfg.Logger.Warn(poolSentence(w), zap.String("pool", pool))
		}
	}
	g.pools.mu.Lock()
	defer g.pools.mu.Unlock()
	g.pools.work, g.pools.all = work, slices.Sorted(maps.Keys(work))
}

// note takes note of whether a pool has a worker, and reports whether it has none since
// now.
func (p *pools) note(without map[string]time.Time, pool string, alive bool) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := without[pool]
	switch {
	case alive:
		delete(without, pool)
	case !was:
		without[pool] = time.Now()
	}
	return !alive && !was
}

// poolSentence says what a pool without a worker means.
func poolSentence(w catalog.PoolWork) string {
	return fmt.Sprintf("Pool %s has %d backups that wait and %d that run, and no worker: start a holdfastd with `pool: %s`, or cancel them", w.Pool, w.Pending, w.Running, w.Pool)
}

// warnings says which pools have work or projects and have had no worker for a while.
func (p *pools) warnings() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, pool := range p.all {
		if since, ok := p.without[pool]; ok && time.Since(since) > poolsBrief {
			all = append(all, poolSentence(p.work[pool]))
		}
	}
	return all
}

// states returns for each pool whether it has workers, and since when it lacks one.
func (p *pools) states() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]string{}
	for _, pool := range p.all {
		all[pool] = monitor.OK
		if since, ok := p.noRestorer[pool]; ok {
			all[pool] = "No worker for restores since " + since.UTC().Format(time.RFC3339)
		}
		if since, ok := p.without[pool]; ok {
			all[pool] = "No worker since " + since.UTC().Format(time.RFC3339)
		}
	}
	return all
}

// workers returns for each pool whether it has a worker.
func (p *pools) workers() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]bool{}
	for _, pool := range p.all {
		_, without := p.without[pool]
		all[pool] = !without
	}
	return all
}

// alive reports whether a pool has a worker of a service, as far as that can be known.
func (g *Gateway) alive(ctx context.Context, service, pool string) bool {
	return g.b.Alive == nil || g.b.Alive(ctx, service, pool)
}

// waitsFor says what a backup that has not ended waits for, or nothing.
func (g *Gateway) waitsFor(ctx context.Context, b catalog.Backup) string {
	if b.Status != catalog.Pending && b.Status != catalog.InProgress {
		return ""
	}
	g.pools.mu.Lock()
	since, without := g.pools.without[b.Pool]
	g.pools.mu.Unlock()
	switch {
	case without:
		return fmt.Sprintf("A worker of the pool %s; none has been running since %s", b.Pool, since.UTC().Format(time.RFC3339))
	case !g.alive(ctx, backup.Service, b.Pool):
		return fmt.Sprintf("A worker of the pool %s; none is running", b.Pool)
	case b.Status == catalog.Pending:
		return "A worker that is free, a restore of the project that ends, or the next attempt"
	}
	return ""
}

// restoreWaitsFor says what a restore that has not ended waits for, or nothing.
func (g *Gateway) restoreWaitsFor(ctx context.Context, r catalog.Restore) string {
	switch {
	case r.Status != catalog.Pending && r.Status != catalog.InProgress:
		return ""
	case !g.alive(ctx, restore.Service, r.Pool):
		return fmt.Sprintf("A worker of the pool %s that restores; none is running", r.Pool)
	case r.Status == catalog.Pending:
		return "A worker that is free, backups of the project that end, or the next attempt"
	}
	return ""
}

// poolWithWorker returns the pool, or, when it has no worker of a service, another one
// that has, and false when there is none at all.
func (g *Gateway) poolWithWorker(ctx context.Context, service, pool string) (string, bool, error) {
	if g.alive(ctx, service, pool) {
		return pool, true, nil
	}
	projects, err := g.b.Catalog.Projects(ctx, catalog.Projects{})
	if err != nil {
		return "", false, err
	}
	for _, p := range projects {
		if p.Pool != pool && g.alive(ctx, service, p.Pool) {
			return p.Pool, true, nil
		}
	}
	return pool, false, nil
}
