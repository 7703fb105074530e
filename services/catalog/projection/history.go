package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// restoring reports whether a restore of a backup is pending or running.
func restoring(ctx context.Context, db *sql.DB, backup string) (yes bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM restores WHERE backup = ? AND dry = 0 AND status IN (?, ?))", backup, catalog.Pending, catalog.InProgress).Scan(&yes)
	return yes, err
}

// history returns a page of the restores of a backup.
func history(ctx context.Context, db *sql.DB, backup string, q catalog.AskHistory) (*catalog.History, error) {
	w := only(q.Only)
	w.add("backup = ?", backup)
	w.add("dry = 0 AND status = ?", catalog.Completed)
	h := &catalog.History{Restores: []catalog.Restore{}}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM restores"+w.String(), w.args...).Scan(&h.Total); err != nil {
		return nil, err
	}
	if q.Before != nil {
		w.add("(created, id) < (?, ?)", nanos(q.Before.Created), q.Before.ID)
	}
	rs, err := db.QueryContext(ctx, "SELECT doc FROM restores"+w.String()+" ORDER BY created DESC, id DESC LIMIT ?", append(w.args, catalog.HistoryLimit+1)...)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var doc string
		if err := rs.Scan(&doc); err != nil {
			return nil, err
		}
		var r catalog.Restore
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return nil, err
		}
		if h.More = len(h.Restores) == catalog.HistoryLimit; h.More {
			break
		}
		h.Restores = append(h.Restores, shorten(r))
	}
	slices.Reverse(h.Restores)
	return h, rs.Err()
}

// shorten leaves out what a history has no room for.
func shorten(r catalog.Restore) catalog.Restore {
	r.Checks, r.Plan = nil, nil
	if r.Left = len(r.Warnings) - catalog.HistoryWarnings; r.Left <= 0 {
		r.Left = 0
	} else {
		r.Warnings = r.Warnings[:catalog.HistoryWarnings]
	}
	for i := range r.Warnings {
		if x := &r.Warnings[i]; len(x.Sentence) > catalog.HistoryWords {
			x.Sentence = strings.ToValidUTF8(x.Sentence[:catalog.HistoryWords], "") + "…"
		}
	}
	return r
}
