package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/services/catalog"
)

// histogram counts durations of completed backups by type. It lives in memory
// and is read from the rows at start.
type histogram map[string]*catalog.Durations

func loadHistogram(ctx context.Context, db *sql.DB) (histogram, error) {
	h := histogram{}
	rs, err := db.QueryContext(ctx, "SELECT doc FROM backups WHERE status = ?", catalog.Completed)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // read only
	for rs.Next() {
		var doc string
		if err := rs.Scan(&doc); err != nil {
			return nil, err
		}
		var b catalog.Backup
		if err := json.Unmarshal([]byte(doc), &b); err != nil {
			return nil, err
		}
		h.observe(b)
	}
	return h, rs.Err()
}

func (h histogram) observe(b catalog.Backup) {
	buckets := catalog.DurationBuckets()
	d := h[b.Type]
	if d == nil {
		d = &catalog.Durations{Type: b.Type, Buckets: make([]uint64, len(buckets))}
		h[b.Type] = d
	}
	seconds := b.Ended.Sub(b.Created).Seconds()
	d.Count++
	d.Seconds += seconds
	for i, bound := range buckets {
		if seconds <= bound {
			d.Buckets[i]++
		}
	}
}

func (h histogram) list() []catalog.Durations {
	out := []catalog.Durations{}
	for _, typ := range slices.Sorted(maps.Keys(h)) {
		d := *h[typ]
		d.Buckets = slices.Clone(d.Buckets)
		out = append(out, d)
	}
	return out
}
