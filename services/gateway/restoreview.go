package gateway

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/restore"
)

// restoreView is a restore: the contract's fields, then ours.
type restoreView struct {
	BackupID     string           `json:"backupId"`
	ProjectID    string           `json:"projectId"` // that was changed
	Duration     *int64           `json:"duration,omitempty"`
	RestoredAt   *second          `json:"restoredAt,omitempty"`
	Warnings     []string         `json:"warnings"`
	ID           string           `json:"id"`
	Status       catalog.Status   `json:"status"`
	RestoreTypes []string         `json:"restoreTypes"`
	Forced       bool             `json:"forced"`
	CreatedAt    second           `json:"createdAt"`
	CompletedAt  *second          `json:"completedAt,omitempty"`
	Stage        string           `json:"stage,omitempty"`
	Progress     *events.Progress `json:"progress,omitempty"`
	Error        string           `json:"error,omitempty"`
	Reason       string           `json:"reason,omitempty"`
	ProjectState string           `json:"projectState,omitempty"` // after a failure
	Checks       []checkView      `json:"checks,omitempty"`       // of one that was refused
	DryRun       bool             `json:"dryRun,omitempty"`
	Plan         *planView        `json:"plan,omitempty"`
	KeptUntil    *second          `json:"keptUntil,omitempty"` // until then it can be undone
	Undone       bool             `json:"undone,omitempty"`
	Revision     events.Revision  `json:"revision"`
	Damaged      string           `json:"damaged,omitempty"` // why what is shown may not be all
	WaitsFor     string           `json:"waitsFor,omitempty"`
}

type checkView struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Forced   bool   `json:"forced,omitempty"`
	Sentence string `json:"sentence,omitempty"`
}

// planView is what a dry run found out.
type planView struct {
	WouldSucceed     bool        `json:"wouldSucceed"`
	Replaces         []string    `json:"replaces"`
	Checks           []checkView `json:"checks"`
	Bytes            int64       `json:"bytes"`
	EstimatedSeconds int64       `json:"estimatedSeconds"`
}

func viewRestore(r catalog.Restore) restoreView {
	v := restoreView{
		BackupID: r.Backup, ProjectID: r.Project, Warnings: []string{}, ID: r.ID, Status: r.Status, RestoreTypes: r.Parts, Forced: r.Forced, CreatedAt: second(r.Created),
		CompletedAt: secondOf(r.Ended), Stage: r.Stage, Error: r.Error, Reason: r.Reason, ProjectState: r.State, Checks: viewChecks(r.Checks), DryRun: r.DryRun,
		KeptUntil: secondOf(r.KeptUntil), Undone: r.Undone, Revision: r.Revision, Damaged: damaged(r.Broken),
	}
	for _, w := range r.Warnings {
		v.Warnings = append(v.Warnings, w.Sentence)
	}
	if r.Reason == string(events.ReasonCancelled) {
		v.ProjectState = restore.Unchanged
	}
	if !r.Ended.IsZero() {
		s := r.Ended.Sub(r.Created).Milliseconds() / 1000
		v.Duration = &s
	}
	if r.Status == catalog.Completed && !r.DryRun {
		v.RestoredAt = secondOf(r.Ended)
	}
	if p := r.Plan; p != nil {
		v.Plan = &planView{true, p.Replaces, viewChecks(p.Checks), p.Bytes, p.Seconds}
		for _, c := range p.Checks {
			v.Plan.WouldSucceed = v.Plan.WouldSucceed && (c.OK || c.Forced)
		}
	}
	return v
}

func viewChecks(cs []events.RestoreCheck) (out []checkView) {
	for _, c := range cs {
		out = append(out, checkView(c))
	}
	return out
}

// restoreRow is a line of the restore history: the contract's fields, then ours.
type restoreRow struct {
	RestoredAt   second   `json:"restoredAt"`
	Duration     int64    `json:"duration"`
	ID           string   `json:"id"`
	Status       string   `json:"status"` // completed or undone
	ProjectID    string   `json:"projectId"`
	RestoreTypes []string `json:"restoreTypes"`
	Forced       bool     `json:"forced"`
	Warnings     []string `json:"warnings"`
}

// addHistory adds a page of the restores that have brought a backup back. A backup that
// is only queued has none.
func (v *backupView) addHistory(h *catalog.History) {
	rows, total := []restoreRow{}, int64(0)
	if h != nil {
		total = h.Total
		for _, r := range h.Restores {
			rows = append(rows, rowOf(r))
		}
		if h.More {
			v.RestoreHistoryCursor = encodeCursor(catalog.Cursor{Created: h.Restores[0].Created, ID: h.Restores[0].ID})
		}
	}
	v.RestoreHistory, v.RestoreHistoryTotal = &rows, &total
}

func rowOf(r catalog.Restore) restoreRow {
	v := viewRestore(r)
	if r.Left > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("And %d more warnings; GET /api/v1/restores/%s has them.", r.Left, r.ID))
	}
	row := restoreRow{*v.RestoredAt, *v.Duration, r.ID, string(catalog.Completed), r.Project, r.Parts, r.Forced, v.Warnings}
	if r.Undone {
		row.Status = "undone"
	}
	return row
}
