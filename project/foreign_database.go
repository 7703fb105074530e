package project

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// adopt makes the database of another project fit this one: what would act in the
// name of that one is switched off, and what belongs to the services of this one
// stays.
func (d *databaseRestoration) adopt(ctx context.Context, a *admin) error {
	p := d.main()
	conn, err := connect(ctx, a.on(p.fresh), map[string]string{"session_replication_role": "replica"})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	if err := d.silence(ctx, conn, p.prints); err != nil {
		return err
	}
	for list, sentence := range map[string]string{
		"vault_secrets": "The vault secret %s was encrypted with the key of the other project; make it again.",
		"triggers":      "The webhook %s still calls the other project's address; look at it.",
	} {
		rows, err := p.prints.rows(list)
		if err != nil {
			return err
		}
		for _, o := range rows {
			if list == "triggers" && o.text("url") == "" {
				continue
			}
			d.t.warn(Database, list+"_foreign", o.text("name"), fmt.Sprintf(sentence, o.text("name")))
		}
	}
	return d.ownRealtime(ctx, a, conn)
}

// silence stops the cron jobs.
func (d *databaseRestoration) silence(ctx context.Context, conn *pgx.Conn, prints *fingerprint) error {
	jobs, err := prints.rows("cron_jobs")
	if err != nil || len(jobs) == 0 {
		return err
	}
	active := 0
	for _, o := range jobs {
		if o.is("active") {
			active++
		}
	}
	var there bool // else it waits for the name of the database, see ifCron
	if err := conn.QueryRow(ctx, "SELECT to_regclass('cron.job') IS NOT NULL").Scan(&there); err != nil {
		return wrapSQL(err)
	}
	if there {
		if _, err := conn.Exec(ctx, "UPDATE cron.job SET active = false WHERE active"); err != nil {
			return wrapSQL(err)
		}
	}
	if active > 0 {
		d.t.warn(Database, "cron_disabled", "", fmt.Sprintf("%d cron jobs of the other project are disabled; enable those that shall run here.", active))
	}
	return nil
}

// realtimeSchema holds the tenants of the realtime service, encrypted with its key.
const realtimeSchema = "_realtime"

// ofRealtime reports whether a difference is of what ownRealtime keeps.
func ofRealtime(d difference) bool {
	for _, name := range []string{d.name, d.of.text("relation"), d.of.text("name"), d.of.text("schema")} {
		if name == realtimeSchema || strings.HasPrefix(name, realtimeSchema+".") {
			return true
		}
	}
	return false
}

// ownRealtime keeps the schema of this project's realtime service.
func (d *databaseRestoration) ownRealtime(ctx context.Context, a *admin, conn *pgx.Conn) error {
	there, err := a.exists(ctx, a.name)
	if err != nil || !there {
		return err
	}
	live, err := connect(ctx, a.url, canonical)
	if err != nil {
		return err
	}
	var has bool
	err = live.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", realtimeSchema).Scan(&has)
	if err := errors.Join(err, live.Close(ctx)); err != nil || !has {
		return wrapSQL(err)
	}
	file := filepath.Join(d.t.Scratch, "realtime")
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	dump, err := a.client(a.name).command(ctx, "pg_dump", "--format=custom", "--schema="+realtimeSchema, "--file="+file)
	if err != nil {
		return err
	}
	var stderr tail
	dump.Stderr = &stderr
	if err := dump.Run(); err != nil {
		return toolError("pg_dump", err, stderr.String())
	}
	if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+quote(realtimeSchema)+" CASCADE"); err != nil {
		return wrapSQL(err)
	}
	failed, err := a.client(d.main().fresh).restore(ctx, file)
	if err == nil && len(failed) > 0 {
		err = fail(nil, "The schema %s of this project could not be kept: %s", realtimeSchema, failed[0].message)
	}
	return err
}
