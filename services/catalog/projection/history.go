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
func restoring(ctx context.Context, r reader, backup string) (yes bool, err error) {
	err = r.each(ctx, "SELECT EXISTS (SELECT 1 FROM restores WHERE backup = ? AND dry = 0 AND status IN (?, ?))", func(rs *sql.Rows) error { return rs.Scan(&yes) },
		backup, catalog.Pending, catalog.InProgress)
	return yes, err
}

// history returns a page of the restores of a backup.
func history(ctx context.Context, r reader, backup string, q catalog.AskHistory) (*catalog.History, error) {
	var w where
	if q.Only != nil {
		w.add("project IN (SELECT value FROM json_each(?))", jsonList(q.Only))
	}
	w.add("backup = ?", backup)
	w.add("dry = 0 AND status = ?", catalog.Completed)
	h := &catalog.History{Restores: []catalog.Restore{}}
	if err := r.each(ctx, "SELECT count(*) FROM restores"+w.String(), func(rs *sql.Rows) error { return rs.Scan(&h.Total) }, w.args...); err != nil {
		return nil, err
	}
	if q.Before != nil {
		w.add("(created, id) < (?, ?)", nanos(q.Before.Created), q.Before.ID)
	}
	err := r.each(ctx, "SELECT doc FROM restores"+w.String()+" ORDER BY created DESC, id DESC LIMIT ?", func(rs *sql.Rows) error {
		if h.More = len(h.Restores) == catalog.HistoryLimit; h.More {
			return nil
		}
		var doc []byte
		if err := rs.Scan(&doc); err != nil {
			return err
		}
		var x catalog.Restore
		err := json.Unmarshal(doc, &x)
		h.Restores = append(h.Restores, shorten(x))
		return err
	}, append(w.args, catalog.HistoryLimit+1)...)
	slices.Reverse(h.Restores)
	return h, err
}

func jsonList(list []string) string {
	b, _ := json.Marshal(list) // strings
	return string(b)
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
