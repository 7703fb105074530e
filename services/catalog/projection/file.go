package projection

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/events"
)

// version is that of the schema and of the meaning of its columns. Another one
// means that the file is built anew.
const version = "5"

const schema = `
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL);
CREATE TABLE backups (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL, project TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, destination TEXT NOT NULL,
  created INTEGER NOT NULL, size INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE UNIQUE INDEX by_id ON backups (id);
CREATE TABLE counts (project TEXT, status TEXT, type TEXT, destination TEXT, count INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (project, status, type, destination));
CREATE TABLE restores (id TEXT PRIMARY KEY, backup TEXT NOT NULL, project TEXT NOT NULL, status TEXT NOT NULL, dry INTEGER NOT NULL, created INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE INDEX of_backup ON restores (backup, dry, status, created, id);
CREATE TABLE projects (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE success (project TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE restored (project TEXT, status TEXT, at INTEGER NOT NULL, PRIMARY KEY (project, status));
CREATE TABLE damaged (project TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE broken (revision INTEGER PRIMARY KEY);
CREATE TABLE skipped (type TEXT PRIMARY KEY);
`

// indexes let any combination of the contract's filters find its newest rows
// without reading others.
const indexes = `
CREATE INDEX by_created ON backups (created, id);
CREATE INDEX by_p ON backups (project, created, id);
CREATE INDEX by_s ON backups (status, created, id);
CREATE INDEX by_d ON backups (destination, created, id);
CREATE INDEX by_ps ON backups (project, status, created, id);
CREATE INDEX by_pd ON backups (project, destination, created, id);
CREATE INDEX by_sd ON backups (status, destination, created, id);
CREATE INDEX by_psd ON backups (project, status, destination, created, id);
`

// escape makes the path of a file out of a name in which a URI would end early.
var escape = strings.NewReplacer("%", "%25", "#", "%23", "?", "%3f")

// openFile opens or makes a file. A power cut may cost the newest transactions,
// never the file: they come again from the log.
func openFile(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+escape.Replace(path)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)&_pragma=cache_size(-4000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, os.Chmod(path, 0o600)
}

func create(ctx context.Context, db *sql.DB, identity string) error {
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, "INSERT INTO meta VALUES ('version', ?), ('identity', ?), ('revision', '0'), ('event', '')", version, identity)
	return err
}

// Checkpoint returns which log the file of a catalog was built from, and how far; zero
// if there is no such file.
func Checkpoint(ctx context.Context, path string) (events.LogState, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return events.LogState{}, err
	}
	db, err := openFile(ctx, path)
	if err != nil {
		return events.LogState{}, nil //nolint:nilerr // it is built anew
	}
	at, err := checkpoint(ctx, db)
	if err != nil {
		at = place{} // as above
	}
	return at.LogState, db.Close()
}

// lostSince returns what a log lacks that was known of it, or nil.
func lostSince(known, now events.LogState) *events.DamageError {
	switch {
	case known.Last == 0:
	case known.Identity != now.Identity:
		return &events.DamageError{Gap: events.Gap{First: 1, Last: known.Last}, Replaced: known.Identity}
	case known.Last > now.Last:
		return &events.DamageError{Gap: events.Gap{First: now.Last + 1, Last: known.Last}, Replaced: known.Identity}
	}
	return nil
}

// place is where a file is in a log.
type place struct {
	events.LogState
	event   string // id of the last event; empty if there is none
	current bool   // this version would have built the same file
}

// checkpoint returns where a file is.
func checkpoint(ctx context.Context, db *sql.DB) (at place, err error) {
	meta := map[string]string{}
	rows, err := db.QueryContext(ctx, "SELECT k, v FROM meta")
	if err != nil {
		return at, err // no file of ours: built anew
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return at, err
		}
		meta[k] = v
	}
	if err := rows.Err(); err != nil {
		return at, err
	}
	n, err := strconv.ParseUint(meta["revision"], 10, 64)
	if err != nil {
		return at, err
	}
	at = place{LogState: events.LogState{Identity: meta["identity"], Last: events.Revision(n)}, event: meta["event"]}
	if meta["version"] == version {
		at.current, err = understands(ctx, db)
	}
	return at, err
}

// removeFile removes a file with what SQLite keeps beside it.
func removeFile(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
