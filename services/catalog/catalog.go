// Package catalog is the language of the catalog: what can be asked of it and
// what it answers. Package projection below it keeps the answers, built from the
// event log and from nothing else.
//
// Every question may carry a minimum revision. The answer then knows at least
// what the log knew there, so that whoever has written reads what was written; if
// the catalog does not get there in time the answer is [fault.Unavailable].
package catalog

import (
	"context"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Status is where a backup is in its life.
type Status string

// Statuses of the REST contract.
const (
	Pending    Status = "pending" // queued, or between two attempts
	InProgress Status = "in_progress"
	Completed  Status = "completed"
	Failed     Status = "failed" // for good
)

// Statuses returns all of them.
func Statuses() []Status { return []Status{Pending, InProgress, Completed, Failed} }

// Backup is a backup as the catalog knows it.
type Backup struct {
	ID           string           `json:"id"`
	Project      string           `json:"project"`
	ProjectName  string           `json:"project_name"`
	Type         string           `json:"type"`
	Status       Status           `json:"status"`
	Destination  string           `json:"destination"`
	Pool         string           `json:"pool"`
	Key          string           `json:"key,omitempty"`
	Path         string           `json:"path,omitempty"`
	Size         int64            `json:"size"` // stored bytes; 0 until completed
	SHA256       string           `json:"sha256,omitempty"`
	Encrypted    bool             `json:"encrypted"`
	Origin       string           `json:"origin"`
	Created      time.Time        `json:"created"`
	Ended        time.Time        `json:"ended,omitzero"` // completed or failed for good
	Error        string           `json:"error,omitempty"`
	Reason       string           `json:"reason,omitempty"`
	Parts        []events.Part    `json:"parts,omitempty"`
	Warnings     []events.Warning `json:"warnings,omitempty"` // not in lists
	Held         bool             `json:"held,omitempty"`
	Unverified   bool             `json:"unverified,omitempty"` // the checksum was read from a sidecar, and nobody has looked at the whole archive since
	Verification *Verification    `json:"verification,omitempty"`
	History      *History         `json:"history,omitempty"`   // a page of the restores that have brought it back; if asked for
	Restoring    bool             `json:"restoring,omitempty"` // a restore of it is pending or running; not in lists
	Broken       events.Revision  `json:"broken,omitempty"`    // the newest of its events that cannot be decoded
	First        events.Revision  `json:"first"`               // of the first event
	Revision     events.Revision  `json:"revision"`            // of the newest event
}

// Restore is a restore as the catalog knows it.
type Restore struct {
	ID        string                `json:"id"`
	Backup    string                `json:"backup"`
	Project   string                `json:"project"` // that was changed
	Pool      string                `json:"pool"`
	Parts     []string              `json:"parts"`
	Status    Status                `json:"status"`
	Stage     string                `json:"stage,omitempty"` // the last one that was completed
	Forced    bool                  `json:"forced,omitempty"`
	DryRun    bool                  `json:"dry_run,omitempty"`
	Created   time.Time             `json:"created"`
	Ended     time.Time             `json:"ended,omitzero"` // completed or failed for good
	Error     string                `json:"error,omitempty"`
	Reason    string                `json:"reason,omitempty"`
	State     string                `json:"state,omitempty"` // of the project after a failure
	Warnings  []events.Warning      `json:"warnings,omitempty"`
	Left      int                   `json:"left,omitempty"`   // warnings that a history leaves out
	Checks    []events.RestoreCheck `json:"checks,omitempty"` // of one that was refused
	Plan      *events.RestorePlan   `json:"plan,omitempty"`   // of a dry run
	KeptUntil time.Time             `json:"kept_until,omitzero"`
	Undone    bool                  `json:"undone,omitempty"`
	Broken    events.Revision       `json:"broken,omitempty"` // the newest of its events that cannot be decoded
	Revision  events.Revision       `json:"revision"`         // of the newest event
}

// GetRestore asks for one restore. If there is none the answer is
// [fault.NotFound].
type GetRestore struct {
	ID  string          `json:"id"`
	Min events.Revision `json:"min,omitempty"`
}

// Verification is what the last look at the stored archive found.
type Verification struct {
	OK      bool      `json:"ok"`
	At      time.Time `json:"at"`
	Message string    `json:"message,omitempty"` // what is wrong, or what could not be looked at
}

// Filter chooses backups. Zero fields choose all.
type Filter struct {
	Project       string    `json:"project,omitempty"`
	Only          []string  `json:"only,omitzero"` // none but these projects, if not nil
	Status        Status    `json:"status,omitempty"`
	Destination   string    `json:"destination,omitempty"`
	Type          string    `json:"type,omitempty"`
	CreatedAfter  time.Time `json:"created_after,omitzero"`  // not included
	CreatedBefore time.Time `json:"created_before,omitzero"` // not included
}

// List asks for a page of backups, newest first.
type List struct {
	Filter
	Limit  int             `json:"limit"` // 1 to MaxLimit
	Offset int             `json:"offset,omitempty"`
	After  *Cursor         `json:"after,omitempty"` // instead of Offset
	Stats  bool            `json:"stats,omitempty"`
	Min    events.Revision `json:"min,omitempty"`
}

// MaxLimit is the largest page.
const MaxLimit = 500

// Cursor is the place behind a backup, or a restore, in the order of lists.
type Cursor struct {
	Created time.Time       `json:"created"`
	ID      string          `json:"id"`
	First   events.Revision `json:"first,omitempty"` // of a backup
}

// Page is an answer to [List].
type Page struct {
	Backups []Backup `json:"backups"`
	Total   int64    `json:"total"`          // that match the filter
	More    bool     `json:"more,omitempty"` // there are some behind the page
	Stats   *Stats   `json:"stats,omitempty"`
}

// Stats sums up all backups that match a filter.
type Stats struct {
	Count         int64            `json:"count"`
	Size          int64            `json:"size"`
	ByDestination map[string]Total `json:"by_destination"` // without those that have none
}

// Total is a number of backups and their stored bytes.
type Total struct {
	Count int64 `json:"count"`
	Size  int64 `json:"size"`
}

// Get asks for one backup. If there is none the answer is
// [fault.BackupNotFound].
type Get struct {
	ID      string          `json:"id"`
	Min     events.Revision `json:"min,omitempty"`
	History *AskHistory     `json:"history,omitempty"` // nil: not asked for
}

// AskHistory asks for a page of the completed restores of a backup, without dry runs.
type AskHistory struct {
	Only   []string `json:"only,omitzero"`    // those into these projects, if not nil
	Before *Cursor  `json:"before,omitempty"` // those that are older; nil: the newest
}

// Limits of a page of a history: together they keep an answer below the largest message
// of a NATS server, however often a backup was restored.
const (
	HistoryLimit    = 50  // restores
	HistoryWarnings = 5   // of each of them
	HistoryWords    = 500 // bytes of a warning's sentence
)

// History is a page of the restores of a backup.
type History struct {
	Restores []Restore `json:"restores"`       // oldest first; with the first of their warnings and without checks
	Total    int64     `json:"total"`          // on all pages
	More     bool      `json:"more,omitempty"` // there are older ones
}

// Projects asks for all projects.
type Projects struct {
	Min events.Revision `json:"min,omitempty"`
}

// Project is what a worker last said of a project.
type Project struct {
	ID string `json:"id"`
	events.ProjectRegistered
}

// Figures asks for what monitoring wants to know.
type Figures struct{}

// Reader answers questions.
type Reader interface {
	List(ctx context.Context, q List) (Page, error)
	Get(ctx context.Context, q Get) (Backup, error)
	Restore(ctx context.Context, q GetRestore) (Restore, error)
	Projects(ctx context.Context, q Projects) ([]Project, error)
	Figures(ctx context.Context, q Figures) (Monitor, error)
}

// Monitor is an answer to [Figures].
type Monitor struct {
	Backups   []Group              `json:"backups"`
	Durations []Durations          `json:"durations"`
	Success   map[string]time.Time `json:"success"` // the end of the last completed backup, by project
	Damaged   map[string]int64     `json:"damaged"` // backups whose last verification failed, by project
	Broken    int64                `json:"broken"`  // events that cannot be decoded
	Restores  []Restored           `json:"restores"`
	Work      []PoolWork           `json:"work"` // of the pools that have some
	Revision  events.Revision      `json:"revision"`
	Lag       events.Revision      `json:"lag"`    // how far the catalog is behind the log
	Behind    time.Duration        `json:"behind"` // how long it has not got as far as the log was
}

// PoolWork counts the backups that a pool has to make.
type PoolWork struct {
	Pool    string `json:"pool"`
	Pending int64  `json:"pending"`
	Running int64  `json:"running"`
}

// Group counts the backups that are alike.
type Group struct {
	Project     string `json:"project"`
	Status      Status `json:"status"`
	Type        string `json:"type"`
	Destination string `json:"destination"`
	Total
}

// Restored counts the restores into a project that are alike, without dry runs.
type Restored struct {
	Project string    `json:"project"`
	Status  Status    `json:"status"`
	Count   int64     `json:"count"`
	Ended   time.Time `json:"ended,omitzero"` // the last one
}

// Durations counts the completed backups of a type by how long they took.
type Durations struct {
	Type    string   `json:"type"`
	Count   uint64   `json:"count"`
	Seconds float64  `json:"seconds"` // all together
	Buckets []uint64 `json:"buckets"` // of each of DurationBuckets, those that took at most so long
}

// DurationBuckets are the upper bounds of [Durations], in seconds.
func DurationBuckets() []float64 {
	return []float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600}
}
