package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

// second is a time as the contract writes it: UTC, whole seconds.
type second time.Time

// MarshalJSON implements json.Marshaler.
func (s second) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(`"` + time.RFC3339 + `"`)), nil
}

func secondOf(t time.Time) *second {
	if t.IsZero() {
		return nil
	}
	s := second(t)
	return &s
}

// backupView is a backup as lists and GET show it: the contract's fields, then
// ours.
type backupView struct {
	ID          string         `json:"id"`
	ProjectID   string         `json:"projectId"`
	ProjectName string         `json:"projectName"`
	Type        string         `json:"type"`
	Status      catalog.Status `json:"status"`
	Destination string         `json:"destination"`
	Path        string         `json:"path,omitempty"`
	Size        int64          `json:"size"`
	Encrypted   bool           `json:"encrypted"`
	CreatedAt   second         `json:"createdAt"`
	CompletedAt *second        `json:"completedAt,omitempty"`
	Duration    *int64         `json:"duration,omitempty"`
	extras
	RestoreHistory       *[]restoreRow `json:"restoreHistory,omitempty"`       // a page of it; of GET only
	RestoreHistoryTotal  *int64        `json:"restoreHistoryTotal,omitempty"`  // on all pages
	RestoreHistoryCursor string        `json:"restoreHistoryCursor,omitempty"` // of the page with older ones
}

// createdView is a backup as POST shows it.
type createdView struct {
	ID          string         `json:"id"`
	ProjectID   string         `json:"projectId"`
	Type        string         `json:"type"`
	Status      catalog.Status `json:"status"`
	Destination string         `json:"destination"`
	Path        string         `json:"path,omitempty"`
	Size        int64          `json:"size"`
	Duration    *int64         `json:"duration,omitempty"`
	CreatedAt   second         `json:"createdAt"`
	CompletedAt *second        `json:"completedAt,omitempty"`
	ProjectName string         `json:"projectName"`
	Encrypted   bool           `json:"encrypted"`
	extras
}

// extras are the fields that Holdfast adds to the contract's.
type extras struct {
	DurationMs   *int64            `json:"durationMs,omitempty"`
	Checksum     string            `json:"checksum,omitempty"`
	Error        string            `json:"error,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Progress     *events.Progress  `json:"progress,omitempty"`
	Parts        []events.Part     `json:"parts,omitempty"`
	Warnings     []events.Warning  `json:"warnings,omitempty"`
	Origin       string            `json:"origin"`
	Held         bool              `json:"held"`
	Verification *verificationView `json:"verification,omitempty"`
	Verified     *bool             `json:"verified,omitempty"` // false of an adopted backup until its archive was looked at; of completed backups only
	Revision     events.Revision   `json:"revision"`
	Damaged      string            `json:"damaged,omitempty"`  // why what is shown may not be all
	WaitsFor     string            `json:"waitsFor,omitempty"` // not in lists
}

// damaged says what an event that cannot be decoded means, or nothing.
func damaged(broken events.Revision) string {
	if broken == 0 {
		return ""
	}
	return fmt.Sprintf("Event %s of the log cannot be read, so this may not be all of its history", broken)
}

type verificationView struct {
	Status string `json:"status"` // ok or failed
	At     second `json:"at"`
	// What is wrong, or what could not be looked at.
	Message string `json:"message,omitempty"`
}

func view(b catalog.Backup) backupView {
	v := backupView{
		ID: b.ID, ProjectID: b.Project, ProjectName: b.ProjectName, Type: b.Type, Status: b.Status, Destination: b.Destination, Path: b.Path, Size: b.Size,
		Encrypted: b.Encrypted, CreatedAt: second(b.Created), CompletedAt: secondOf(b.Ended),
		extras: extras{Error: b.Error, Reason: b.Reason, Parts: b.Parts, Warnings: b.Warnings, Origin: b.Origin, Held: b.Held, Revision: b.Revision, Damaged: damaged(b.Broken)},
	}
	if !b.Ended.IsZero() {
		ms := b.Ended.Sub(b.Created).Milliseconds()
		s := ms / 1000
		v.Duration, v.DurationMs = &s, &ms
	}
	if b.SHA256 != "" {
		v.Checksum = "sha256:" + b.SHA256
		verified := !b.Unverified && (b.Verification == nil || b.Verification.OK)
		v.Verified = &verified
	}
	if x := b.Verification; x != nil {
		v.Verification = &verificationView{"failed", second(x.At), x.Message}
		if x.OK {
			v.Verification.Status = "ok"
		}
	}
	return v
}

// created returns a backup as an answer to a request about it.
func (g *Gateway) created(ctx context.Context, b catalog.Backup) createdView {
	v := view(b)
	v.WaitsFor = g.waitsFor(ctx, b)
	return createdView{
		v.ID, v.ProjectID, v.Type, v.Status, v.Destination, v.Path, v.Size, v.Duration, v.CreatedAt, v.CompletedAt, v.ProjectName, v.Encrypted, v.extras,
	}
}
