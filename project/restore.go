package project

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
)

// Target says for what and how a part is restored.
type Target struct {
	ID      string            // of the restore: up to ten of a-z and 0-9; part of every name that it makes
	At      time.Time         // when the restore was asked for; part of the names of what is kept
	Server  *Server           // of the project that is restored into; nil if it has no database
	Scratch string            // folder on this machine for what must lie in files; made and removed
	Foreign bool              // the backup is of another project
	Force   bool              // what is a judgement becomes a warning
	Stopped bool              // the project's services will be stopped before the swap
	Source  archive.Part      // what the archive holds of the part
	Prints  []byte            // fingerprint.json of the archive; nil if it has no database
	Both    bool              // the database is restored together with this part
	Config  bool              // the configuration of the same backup is restored together with this part
	Replace map[string][]byte // configuration files that come back with another content than the archive's
	// PrivilegedModes lets files come back with the setuid and setgid bits of the archive.
	PrivilegedModes bool

	MinFree int64                 // bytes that stay free on the disks
	Warn    func(archive.Warning) // takes what did not come back as it was

	step func(what string) error // called before each change of a swap; nil but in tests
}

// Check is one thing that is looked at before a restore.
type Check struct {
	Name     string // a stable word, such as "sessions"
	Problem  string // a sentence for people; "" if all is well
	Judgment bool   // may be overridden by force
	Note     string // a sentence about what will be otherwise than one may expect; no problem
	Needs    []Need // instead of all others, the name included: what [CheckRoom] looks at together with other parts
}

// Restoration brings a part back. Build makes it beside what is there and proves
// it, Swap puts it in its place. Until Swap nothing that is in use is changed. All
// of it may be repeated after a crash, by another process too.
type Restoration interface {
	// Check returns what was looked at, well or not. It changes nothing.
	Check(ctx context.Context) ([]Check, error)

	// Build reads the part to its end; the database's r is nil when [Spool] has read
	// it. What an earlier Build has left is removed first.
	Build(ctx context.Context, r *archive.Reader) error

	// Swap puts what was built in the place of what is there, and keeps that. It
	// goes on where an earlier Swap was cut off, and does nothing when all is done.
	Swap(ctx context.Context) error

	// Discard removes what was built and not swapped.
	Discard(ctx context.Context) error
}

// Kept is what a restore has replaced.
type Kept interface {
	// CheckUndo returns why Undo would be refused. It changes nothing.
	CheckUndo(ctx context.Context) error

	// Undo puts it back, and keeps what was restored in its stead. What is back
	// already is left alone.
	Undo(ctx context.Context) error

	// Drop removes what is kept.
	Drop(ctx context.Context) error
}

// keptName returns the name under which a restore keeps what it replaces: it says
// when and why.
func (t Target) keptName(name string) string {
	return cutName(name, 20) + "_before_" + t.At.UTC().Format("20060102t1504") + "_" + t.ID
}

// cutName cuts a name to at most n bytes, between characters.
func cutName(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

func (t Target) warn(part, code, name, sentence string) {
	t.Warn(archive.Warning{Part: part, Code: code, Name: name, Sentence: sentence})
}
