// Package project reads the parts of a self-hosted Supabase project into an
// archive, and brings them back: the database, the storage files, the edge
// functions and the configuration. Package supabase below finds them in a project's folder.
//
// # Vocabulary
//
// A [Part] is one of the four. A [Session] holds one snapshot of the database
// for as long as a backup reads, so that what the parts say of each other is of
// the same instant. A [Warning] counts things that did not go as they should but
// did not spoil the backup; the archive names each of them.
//
// # Errors
//
// A part that cannot be read whole fails with a [*Error], whose Sentence is for
// people and may be kept for ever: it holds no secrets and no names of storage
// objects.
package project

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// Names of the parts, in the order of an archive.
const (
	Database  = "database"
	Storage   = "storage"
	Functions = "functions"
	Config    = "config"
)

// Part is a piece of a project that can be backed up and restored.
type Part interface {
	// Name returns Database, Storage, Functions or Config.
	Name() string

	// Dump writes the part into w, which has begun it. It stops soon after ctx
	// ends. Its warnings are in w as well, one by one.
	Dump(ctx context.Context, s *Session, w *archive.Writer) ([]Warning, error)

	// Restoration returns how the part comes back. It does nothing yet.
	Restoration(t Target) Restoration

	// Kept returns what a restore of the part has replaced.
	Kept(t Target) Kept
}

// Project is what is backed up together.
type Project struct {
	Parts  []Part  // in the order of an archive
	Server *Server // of the database; nil if the project has none

	Credentials Credentials // nil if nothing is known of the project's services

	Absent  []Absence
	Faults  []string          // why something of it cannot be found, for people
	Origins map[string]string // what has led to a part, for people
	Notes   []string          // what is no problem but good to know
}

// Resolver finds the parts of a project as they are now: where they are may change
// while Holdfast runs, so each job asks anew.
type Resolver func(ctx context.Context) Project

// Fixed returns the resolver of a project whose parts never move.
func Fixed(p Project) Resolver {
	return func(context.Context) Project { return p }
}

// Warning counts things of one kind.
type Warning struct {
	Code     string // a stable word, such as "file_vanished"
	Count    int
	Sentence string // for people
}

// Error says why a part could not be read.
type Error struct {
	Sentence string // for people
	Err      error  // the details, for the log
	Retry    bool   // the same may work in a while: a connection broke
	Refused  bool   // nothing was changed, because of something that the operator can end
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Sentence
	}
	return e.Sentence + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(err error, format string, args ...any) error {
	return &Error{Sentence: fmt.Sprintf(format, args...), Err: err}
}

// refuse is fail for what the operator has to end first.
func refuse(err error, format string, args ...any) error {
	return &Error{Sentence: fmt.Sprintf(format, args...), Err: err, Refused: true}
}

// lost is fail for connections that broke.
func lost(err error, format string, args ...any) error {
	return &Error{Sentence: fmt.Sprintf(format, args...), Err: err, Retry: true}
}

// MayRetry reports whether the same may work in a while.
func MayRetry(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Retry
}

// Sentence returns what people may read of err.
func Sentence(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Sentence
	}
	return "The project could not be read; the log of the worker says why."
}

// tally counts warnings by code while it writes each into the archive.
type tally struct {
	part  string
	w     *archive.Writer
	count map[string]int
	order []string
	names map[string][]string // of the codes whose sentence names things
}

func newTally(part string, w *archive.Writer) *tally {
	return &tally{part: part, w: w, count: map[string]int{}, names: map[string][]string{}}
}

// maxNamed is how many things a sentence names.
const maxNamed = 10

// list is note for things that the sentence of the code names.
func (t *tally) list(code, name, format string, args ...any) error {
	if len(t.names[code]) < maxNamed {
		t.names[code] = append(t.names[code], name)
	}
	return t.note(code, name, format, args...)
}

// note writes one warning. name is the thing that it is about.
func (t *tally) note(code, name, format string, args ...any) error {
	if t.count[code]++; t.count[code] == 1 {
		t.order = append(t.order, code)
	}
	return t.w.Warn(archive.Warning{Part: t.part, Code: code, Name: name, Sentence: fmt.Sprintf(format, args...)})
}

// someOf lists names of which there are n in all.
func someOf(names []string, n int) string {
	if n > len(names) {
		return strings.Join(names, ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// warnings returns the counts, with a sentence for each code.
func (t *tally) warnings() []Warning {
	var out []Warning
	for _, code := range t.order {
		sentence := fmt.Sprintf(sentences[code], t.part, t.count[code])
		if names := t.names[code]; names != nil {
			sentence = strings.TrimSuffix(sentence, ".") + ": " + someOf(names, t.count[code]) + "."
		}
		out = append(out, Warning{Code: code, Count: t.count[code], Sentence: sentence})
	}
	return out
}

// Codes of warnings. Programs may act on them.
const (
	fileVanished     = "file_vanished"
	fileChanged      = "file_changed"
	fileSkipped      = "file_skipped"
	linkSkipped      = "link_skipped"
	nameSkipped      = "name_skipped"
	patternEmpty     = "pattern_empty"
	liveData         = "live_data"
	fileLarge        = "file_large"
	mountsApart      = "mounts_apart"
	partMissing      = "part_missing"
	passwordsMissing = "role_passwords_missing"
	vaultKeyMissing  = "vault_key_missing"
	fixedSettings    = "server_settings"
	rowsUncounted    = "rows_uncounted"

	attributesSkipped    = "attributes_skipped"
	extensionRowsMissing = "extension_rows_missing"
	internalMissing      = "internal_database_missing"
	subscriptionDisabled = "subscription_disabled"
)

// sentences has a row for each code: the part and the count are filled in.
var sentences = map[string]string{ //nolint:gosec // no credentials, only the word
	fileVanished:         "%s: %d files vanished before they were read; warnings.jsonl in the archive names them.",
	fileChanged:          "%s: %d files changed while they were read; warnings.jsonl in the archive names them.",
	fileSkipped:          "%s: %d sockets, pipes or devices were left out; warnings.jsonl in the archive names them.",
	linkSkipped:          "%s: %d symbolic links lead out of their folder and were left out; warnings.jsonl in the archive names them.",
	nameSkipped:          "%s: %d files or folders were left out, because no archive can hold their names; warnings.jsonl in the archive names them.",
	attributesSkipped:    "%s: extended attributes of %d files or folders were left out, because they are too large; warnings.jsonl in the archive names them.",
	patternEmpty:         "%s: %d include patterns match nothing; warnings.jsonl in the archive names them.",
	passwordsMissing:     "%s: %d time the passwords of roles could not be read; connect as a superuser to back them up.",
	vaultKeyMissing:      "%s: the vault has secrets, but the pgsodium root key could not be read, so %d vault will not come back; set database.root_key.",
	fixedSettings:        "%s: %d settings were made by ALTER SYSTEM and are in no dump; warnings.jsonl in the archive names them.",
	extensionRowsMissing: "%s: the rows of %d tables of extensions are not in the backup; warnings.jsonl in the archive names them.",
	internalMissing:      "%s: %d database of Supabase's services (_supabase) is not in the backup; warnings.jsonl in the archive says why.",
	subscriptionDisabled: "%s: %d subscriptions will come back disabled; warnings.jsonl in the archive names them.",
	rowsUncounted:        "%s: the rows of %d tables could not be counted, so a restore cannot compare them; warnings.jsonl in the archive names them.",
	liveData:             "%s: %d folders or files hold the data of a service and are no configuration, so they were left out.",
	mountsApart:          "%s: %d folders or files that its service mounts from other places are not in this backup; warnings.jsonl in the archive names them.",
	fileLarge:            "%s: %d files are larger than config.max_file and were left out.",
	partMissing:          "%s: %d part cannot be found, so there is nothing of it in this backup; warnings.jsonl in the archive says why.",
}
