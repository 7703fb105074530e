package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
)

// DatabasePart is the database of a project, with the roles of its server.
type DatabasePart struct {
	LockTimeout time.Duration                   // how long pg_dump waits for a lock; 0: for ever
	RootKey     func(ctx context.Context) Place // where the pgsodium root key lies; the zero Place if nowhere

	// ForeignTimeout bounds what a restore does that waits for other servers, such as a
	// materialized view of foreign tables; 0: a minute.
	ForeignTimeout time.Duration
}

// Name implements [Part].
func (*DatabasePart) Name() string { return Database }

// internalDatabase is where Supabase's analytics and pooler keep their state.
const internalDatabase = "_supabase"

// Dump implements [Part].
func (p *DatabasePart) Dump(ctx context.Context, s *Session, w *archive.Writer) ([]Warning, error) {
	t := newTally(Database, w)
	prints := map[string]*fingerprint{}
	var err error
	var name string
	if err := s.tx.QueryRow(ctx, "SELECT current_database()").Scan(&name); err != nil {
		return nil, wrapSQL(err)
	}
	if prints[name], err = p.dump(ctx, s, w, t, name); err != nil {
		return nil, err
	}
	if err := p.globals(ctx, s, w, t); err != nil {
		return nil, err
	}
	if err := p.internal(ctx, s, w, t, name, prints); err != nil {
		return nil, err
	}
	if err := p.rootKey(ctx, prints[name], w, t); err != nil {
		return nil, err
	}
	if err := settings(ctx, s, t); err != nil {
		return nil, err
	}
	if err := subscriptions(prints, t); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(map[string]any{"format": 2, "databases": prints}, "", " ")
	if err != nil {
		return nil, err
	}
	return t.warnings(), addBytes(w, "database/fingerprint.json", 0o644, append(b, '\n'))
}

// fileName makes a file's name out of a database's.
func fileName(database string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == 0 {
			return '_'
		}
		return r
	}, database)
}

// maxGlobals is far above what thousands of roles need.
const maxGlobals = 16 << 20

// globals writes the roles. Without the right to read their passwords they come
// without.
func (*DatabasePart) globals(ctx context.Context, s *Session, w *archive.Writer, t *tally) error {
	var roles []byte
	read := func(stdout io.Reader) (err error) {
		roles, err = io.ReadAll(io.LimitReader(stdout, maxGlobals+1))
		if err == nil && len(roles) > maxGlobals {
			err = fail(nil, "The roles of the server take more than %d MiB.", maxGlobals>>20)
		}
		return err
	}
	err := s.tool(ctx, read, "pg_dumpall", "--globals-only")
	var e *Error
	if errors.As(err, &e) && strings.Contains(e.Error(), "pg_authid") {
		if err := t.note(passwordsMissing, "", "The passwords of roles could not be read; connect as a superuser to back them up."); err != nil {
			return err
		}
		err = s.tool(ctx, read, "pg_dumpall", "--globals-only", "--no-role-passwords")
	}
	if err != nil {
		return err
	}
	return addBytes(w, "database/globals.sql", 0o600, roles)
}

// internal writes Supabase's second database, if there is one. It may be made or dropped
// meanwhile, which is no reason to lose the backup of the first.
func (p *DatabasePart) internal(ctx context.Context, s *Session, w *archive.Writer, t *tally, main string, prints map[string]*fingerprint) error {
	var open bool
	err := s.tx.QueryRow(ctx, "SELECT datallowconn FROM pg_database WHERE datname = $1", internalDatabase).Scan(&open)
	if errors.Is(err, pgx.ErrNoRows) || main == internalDatabase {
		return nil
	}
	if err != nil {
		return wrapSQL(err)
	}
	if !open {
		return t.note(internalMissing, internalDatabase, "The database %s is not in the backup: it allows no connections. ALTER DATABASE %s ALLOW_CONNECTIONS true if it should be.", internalDatabase, internalDatabase)
	}
	in, err := s.sibling(ctx, internalDatabase)
	if isCode(err, invalidDatabase, notInTheState) {
		return t.note(internalMissing, internalDatabase, "The database %s is not in the backup: it was dropped or is being made or dropped.", internalDatabase)
	}
	if err != nil {
		return err
	}
	prints[internalDatabase], err = p.dump(ctx, in, w, t, internalDatabase)
	return errors.Join(err, in.Close())
}

// rootKey writes the key without which the vault's secrets cannot be read.
func (p *DatabasePart) rootKey(ctx context.Context, f *fingerprint, w *archive.Writer, t *tally) error {
	if p.RootKey != nil {
		if at := p.RootKey(ctx); at.Path != "" {
			key, err := at.Read()
			if err == nil {
				return addBytes(w, "database/pgsodium_root.key", 0o600, key)
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, ErrOutside) {
				return fail(err, "The pgsodium root key cannot be read.")
			}
		}
	}
	if f.Tables["vault.secrets"] == 0 && f.Tables["pgsodium.key"] == 0 {
		return nil
	}
	return t.note(vaultKeyMissing, "", "The pgsodium root key could not be read: the vault's secrets will not come back on another server.")
}

// settings warns of what ALTER SYSTEM has set: it lies beside the databases.
func settings(ctx context.Context, s *Session, t *tally) error {
	var file bool
	if err := s.tx.QueryRow(ctx, "SELECT has_function_privilege('pg_show_all_file_settings()', 'execute')").Scan(&file); err != nil || !file {
		return wrapSQL(err)
	}
	rows, err := s.tx.Query(ctx, "SELECT DISTINCT name FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf' ORDER BY 1")
	if err != nil {
		return wrapSQL(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return wrapSQL(err)
		}
		if err := t.note(fixedSettings, name, "ALTER SYSTEM has set %s; it is in no dump.", name); err != nil {
			return err
		}
	}
	return wrapSQL(rows.Err())
}

// subscriptions warns of what comes back, but does not go on by itself.
func subscriptions(prints map[string]*fingerprint, t *tally) error {
	for _, database := range slices.Sorted(maps.Keys(prints)) {
		list, err := prints[database].rows("subscriptions")
		if err != nil {
			return err
		}
		for _, o := range list {
			name := o.text("name")
			if err := t.note(subscriptionDisabled, name, "The subscription %s will come back disabled; ALTER SUBSCRIPTION %s ENABLE lets it go on.", name, quote(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func wrapSQL(err error) error { return refused(err, "The database refused a query") }

func addBytes(w *archive.Writer, name string, mode fs.FileMode, b []byte) error {
	if err := w.Add(archive.Entry{Name: name, Kind: archive.File, Size: int64(len(b)), Mode: mode, ModTime: time.Now()}, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
