package projection

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/holdfast-dev/holdfast/events"
)

const (
	// layout is the version of the tables. A file of another layout cannot be read.
	layout = "2"
	// meaning is the version of what the rows say. A file of another meaning answers
	// until a new one has been built.
	meaning = "1"
)

// Words (ids of projects, statuses, types and names of destinations) are numbers in
// the other tables, from 1 on; 0 stands for any of them.
const schema = `
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL);
CREATE TABLE words (n INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE TABLE backups (
  n INTEGER PRIMARY KEY, -- revision of the first event
  id TEXT NOT NULL, project INTEGER NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL, destination INTEGER NOT NULL,
  created INTEGER NOT NULL, size INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE TABLE totals (project INTEGER, status INTEGER, type INTEGER, destination INTEGER, count INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (project, status, type, destination)) WITHOUT ROWID;
CREATE TABLE periods (project INTEGER, period INTEGER, status INTEGER, type INTEGER, destination INTEGER, count INTEGER NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (project, period, status, type, destination)) WITHOUT ROWID;
CREATE TABLE durations (type INTEGER, bucket INTEGER, count INTEGER NOT NULL, nanos INTEGER NOT NULL, PRIMARY KEY (type, bucket)) WITHOUT ROWID;
CREATE TABLE restores (id TEXT PRIMARY KEY, backup TEXT NOT NULL, project TEXT NOT NULL, status TEXT NOT NULL, dry INTEGER NOT NULL, created INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE TABLE restored (project TEXT, status TEXT, at INTEGER NOT NULL, PRIMARY KEY (project, status));
CREATE TABLE projects (id TEXT PRIMARY KEY, name TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE success (project TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE damaged (project TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE broken (revision INTEGER PRIMARY KEY);
CREATE TABLE skipped (type TEXT PRIMARY KEY);
`

// indexes let any combination of the contract's filters find its newest rows
// without reading others. Rows of the same instant are in the order of n. That of the
// project holds what the totals of a span of time are made of.
const indexes = `
CREATE UNIQUE INDEX by_id ON backups (id);
CREATE INDEX by_created ON backups (created);
CREATE INDEX by_s ON backups (status, created);
CREATE INDEX by_d ON backups (destination, created);
CREATE INDEX by_sd ON backups (status, destination, created);
CREATE INDEX by_p ON backups (project, created);
CREATE INDEX by_ps ON backups (project, status, created);
CREATE INDEX by_pd ON backups (project, destination, created);
CREATE INDEX by_psd ON backups (project, status, destination, created);
CREATE INDEX of_backup ON restores (backup, dry, status, created, id);
CREATE INDEX of_project ON restores (dry, project, status);
`

// indexQueries are the indexes one by one, for a file that may have some of them.
func indexQueries() []string {
	return strings.Split(strings.TrimSuffix(strings.TrimSpace(strings.ReplaceAll(indexes, "INDEX ", "INDEX IF NOT EXISTS ")), ";"), ";")
}

// file is a catalog in a SQLite file. Goroutines may share it.
type file struct {
	db      *sql.DB
	readers chan *session // those that nobody uses; nil is one that was not opened yet

	using sync.RWMutex // held by who reads, so that nothing is closed beneath it
	shut  bool
}

// escape makes the path of a file out of a name in which a URI would end early.
var escape = strings.NewReplacer("%", "%25", "#", "%23", "?", "%3f")

// openFile opens or makes a file. A power cut may cost the newest transactions,
// never the file: they come again from the log.
func openFile(ctx context.Context, path string) (*file, error) {
	db, err := sql.Open("sqlite", "file:"+escape.Replace(path)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)&_pragma=cache_size(-4000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders + 2) // one that writes, one that looks at the file as a whole
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	f := &file{db: db, readers: make(chan *session, maxReaders)}
	for range maxReaders {
		f.readers <- nil
	}
	return f, os.Chmod(path, 0o600)
}

// close waits for those who read and closes the file.
func (f *file) close() error {
	f.using.Lock()
	defer f.using.Unlock()
	f.shut = true
	var errs []error
	for range maxReaders {
		if s := <-f.readers; s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(append(errs, f.db.Close())...)
}

// acquire keeps the file open until release is called. It reports false when the file
// is closed.
func (f *file) acquire() (release func(), ok bool) {
	f.using.RLock()
	if f.shut {
		f.using.RUnlock()
		return nil, false
	}
	return f.using.RUnlock, true
}

func (f *file) create(ctx context.Context, identity string) error {
	if _, err := f.db.ExecContext(ctx, schema); err != nil {
		return err
	}
	_, err := f.db.ExecContext(ctx, "INSERT INTO meta VALUES ('layout', ?), ('meaning', ?), ('identity', ?), ('revision', '0'), ('event', '')", layout, meaning, identity)
	return err
}

// place is where a file is in a log.
type place struct {
	events.LogState
	event    string // id of the last event; empty if there is none
	readable bool   // this version can answer from the file
	current  bool   // this version would have built the same file
}

// place returns where the file is.
func (f *file) place(ctx context.Context) (at place, err error) {
	meta := map[string]string{}
	rows, err := f.db.QueryContext(ctx, "SELECT k, v FROM meta")
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
	at = place{LogState: events.LogState{Identity: meta["identity"], Last: events.Revision(n)}, event: meta["event"], readable: meta["layout"] == layout}
	if at.readable && meta["meaning"] == meaning {
		at.current, err = understands(ctx, f.db)
	}
	return at, err
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
	f, err := openFile(ctx, path)
	if err != nil {
		return events.LogState{}, nil //nolint:nilerr // it is built anew
	}
	at, err := f.place(ctx)
	if err != nil {
		at = place{} // as above
	}
	return at.LogState, f.close()
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

// removeFile removes a file with what SQLite keeps beside it.
func removeFile(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
