package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Swap implements [Restoration].
func (d *databaseRestoration) Swap(ctx context.Context) error {
	a, err := openAdmin(ctx, d.t.Server)
	if err != nil {
		return err
	}
	defer a.close() //nolint:errcheck // nothing is pending
	if err := d.checkBuilt(ctx, a); err != nil {
		return err
	}
	var s swap
	var pairs []pair
	for _, p := range d.t.pairs(a.name) {
		ready, err := a.exists(ctx, p.fresh)
		if err != nil {
			return err
		}
		there, err := a.exists(ctx, p.live)
		if err != nil {
			return err
		}
		if ready && there {
			s.renames, s.closed = append(s.renames, rename{p.live, p.kept}), append(s.closed, p.kept)
		}
		if ready {
			s.renames, s.open = append(s.renames, rename{p.fresh, p.live}), append(s.open, p.live)
		}
		pairs = append(pairs, p)
	}
	if len(s.renames) > 0 {
		if err := d.swap(ctx, a, s); err != nil {
			return err
		}
	}
	if err := d.finish(ctx, a, pairs); err != nil {
		return err
	}
	if err := d.rejoin(ctx, a); err != nil {
		return err
	}
	return d.installKey(ctx)
}

// swap lets the new databases take the names of the old ones, and warns of what the
// server does not carry over.
func (d *databaseRestoration) swap(ctx context.Context, a *admin, s swap) error {
	workers, err := a.backgroundWorkers(ctx, a.name)
	if err != nil {
		return err
	}
	replication, err := d.checkReplication(ctx, a)
	if err != nil {
		return err
	}
	if there, err := a.exists(ctx, a.name); err != nil {
		return err
	} else if there {
		if err := a.pauseSubscriptions(ctx, a.name); err != nil {
			return err
		}
	}
	if n, err := a.sessions(ctx, a.name); err != nil {
		return err
	} else if n > 0 {
		d.t.warn(Database, "sessions_ended", "", fmt.Sprintf("%d sessions were connected to the database %s at the swap and were ended; what they wrote after the safety backup is in the database that was replaced.", n, a.name))
	}
	s.reserved = true // until what waits for the name is done
	if err := a.swap(ctx, s); err != nil {
		return errors.Join(err, a.resumeSubscriptions(context.WithoutCancel(ctx), a.name))
	}
	d.workers = workers
	if replication.Note != "" {
		d.t.warn(Database, "replication", "", replication.Note)
	}
	return nil
}

// finish does, in the databases that a swap has reserved, what had to wait until they
// have their names, and then lets everybody in. When it cannot be done, the databases
// take their old names again.
func (d *databaseRestoration) finish(ctx context.Context, a *admin, pairs []pair) error {
	var reserved []pair
	for _, p := range pairs {
		limit, err := a.setting(ctx, p.live, limitSetting)
		if err != nil {
			return err
		}
		if limit != "" {
			reserved = append(reserved, p)
		}
	}
	for _, p := range reserved {
		err := d.finishDeferred(ctx, a, p)
		if err == nil {
			continue
		}
		if MayRetry(err) || ctx.Err() != nil { // the next try goes on here
			return err
		}
		return errors.Join(err, swapBack(ctx, a, reserved))
	}
	for _, p := range reserved {
		if err := a.unreserve(ctx, p.live); err != nil {
			return err
		}
	}
	d.awaitWorkers(ctx, a)
	return nil
}

// swapBack gives databases that a swap has reserved their old names.
func swapBack(ctx context.Context, a *admin, reserved []pair) error {
	var s swap
	for _, p := range reserved {
		kept, err := a.exists(ctx, p.kept)
		if err != nil {
			return err
		}
		s.renames = append(s.renames, rename{p.live, p.fresh})
		if kept {
			s.renames, s.open = append(s.renames, rename{p.kept, p.live}), append(s.open, p.live)
		}
	}
	if err := a.swap(ctx, s); err != nil {
		return err
	}
	there, err := a.exists(ctx, a.name)
	if err != nil || !there {
		return err
	}
	return a.resumeSubscriptions(ctx, a.name)
}

// workersReturn is how long background workers that served the database are waited
// for: PostgreSQL starts them again within seconds.
const workersReturn = 10 * time.Second

// awaitWorkers warns of background workers that do not come back, such as the
// launcher of pg_cron before 1.6.2.
func (d *databaseRestoration) awaitWorkers(ctx context.Context, a *admin) {
	if len(d.workers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, workersReturn)
	defer cancel()
	var missing []string
	for {
		now, err := a.backgroundWorkers(ctx, a.name)
		if err == nil {
			missing = nil
			for kind := range d.workers {
				if now[kind] == 0 {
					missing = append(missing, kind)
				}
			}
			if missing == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			for _, kind := range missing {
				d.t.warn(Database, "worker_missing", kind, fmt.Sprintf("The background worker %q of the database has not come back since the swap; restart the database server, or nothing that it does is done (cron jobs, for example).", kind))
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// builtFile says what was built, and on which server.
const builtFile = "built.json"

// built is what a restore has built.
type built struct {
	Server    string            `json:"server"`    // its system identifier
	Databases map[string]uint32 `json:"databases"` // oids, which a new name does not change
}

// rememberBuilt notes what was built.
func (d *databaseRestoration) rememberBuilt(ctx context.Context, a *admin) error {
	id, err := a.identifier(ctx)
	if err != nil {
		return err
	}
	x := built{id, map[string]uint32{}}
	for _, p := range d.pairs {
		if x.Databases[p.fresh], err = a.oid(ctx, p.fresh); err != nil {
			return err
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.t.Scratch, builtFile), b, 0o600)
}

// checkBuilt refuses to swap on another server than the one on which the databases were
// built, where the project may lead by now, and when one of them is neither there nor in
// its place.
func (d *databaseRestoration) checkBuilt(ctx context.Context, a *admin) error {
	b, err := os.ReadFile(filepath.Join(d.t.Scratch, builtFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // swapped, and removed, before
	}
	if err != nil {
		return err
	}
	var x built
	if err := json.Unmarshal(b, &x); err != nil {
		return err
	}
	is, err := a.identifier(ctx)
	if err != nil {
		return err
	}
	if is != x.Server {
		return fail(nil, "The project leads to another database server than the one for which the restore was prepared (%s, now %s), so nothing was changed there; look at its folder and at database.url.", x.Server, is)
	}
	for _, p := range d.t.pairs(a.name) {
		oid, ok := x.Databases[p.fresh]
		if !ok {
			continue
		}
		for _, name := range []string{p.fresh, p.live} {
			now, err := a.oid(ctx, name)
			if err != nil {
				return err
			}
			ok = ok && now != oid
		}
		if ok {
			return fail(nil, "The database that was built for the restore, %s, is not on the server any more; restore again.", p.fresh)
		}
	}
	return nil
}

// rejoin makes members of roles again who have been taken out since the backup: without
// them the services of a project cannot act for its users. Another project's stay.
func (d *databaseRestoration) rejoin(ctx context.Context, a *admin) error {
	globals, err := os.ReadFile(filepath.Join(d.t.Scratch, globalsFile))
	if errors.Is(err, os.ErrNotExist) || d.t.Foreign {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := roleNames(ctx, a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	now, err := memberships(ctx, a.conn)
	if err != nil {
		return wrapSQL(err)
	}
	for _, g := range lostMemberships(string(globals), there, now) {
		if _, err := a.conn.Exec(ctx, g.statement); err != nil {
			d.t.warn(Database, "membership_lost", g.member, "The role "+g.member+" was a member of "+g.role+", which could not be granted again: "+refused(err, "GRANT").Error())
			continue
		}
		d.t.warn(Database, "membership_granted", g.member, "The role "+g.member+" is a member of "+g.role+" again, as at the backup.")
	}
	return nil
}
