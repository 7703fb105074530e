package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// TestAdoptedKeyIsRepeatable adopts a backup on an empty log: the request that made it
// is still the same, and another one is not.
func TestAdoptedKeyIsRepeatable(t *testing.T) {
	b := newBench(t, fine)
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	later := newBench(t, fine, func(c *worker.Config) { c.Destinations = map[string]destination.Store{"local": b.store} })
	later.a = b.a
	if all, err := later.w.Adopt(t.Context(), later.log, "local", nil); err != nil || len(all) != 1 || !all[0].Adopted {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := backup.Repeat(later.state(), "h"); !errors.Is(err, events.ErrNoChange) {
		t.Errorf("the same request: %v", err)
	}
	if err := backup.Repeat(later.state(), "other"); err == nil || errors.Is(err, events.ErrNoChange) {
		t.Errorf("another request: %v", err)
	}
}

// stored is what a destination holds of a backup.
type stored struct {
	key     string
	archive []byte
	side    map[string]any
}

// adoptable makes a backup and returns what it has stored.
func adoptable(t *testing.T) (*bench, stored) {
	t.Helper()
	b := newBench(t, fine)
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	out := stored{key: b.state().Completed.Key}
	out.archive = b.object(out.key)
	if err := json.Unmarshal(b.object(backup.SidecarKey(out.key)), &out.side); err != nil {
		t.Fatal(err)
	}
	return b, out
}

func (b *bench) object(key string) []byte {
	b.t.Helper()
	r, err := b.store.Open(b.t.Context(), key, 0, -1)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// place stores an archive and a sidecar at a destination.
func (b *bench) place(key string, archive []byte, side map[string]any) {
	b.t.Helper()
	raw, err := json.Marshal(side)
	if err != nil {
		b.t.Fatal(err)
	}
	for k, data := range map[string][]byte{key: archive, backup.SidecarKey(key): raw} {
		if _, err := b.store.Put(b.t.Context(), k, bytes.NewReader(data), destination.Estimate(len(data))); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestForgedSidecarsAreLeftOut changes one thing in the sidecar of a good archive.
func TestForgedSidecarsAreLeftOut(t *testing.T) {
	_, good := adoptable(t)
	part := func(name string, bytes, entries any) []any {
		return []any{map[string]any{"name": name, "bytes": bytes, "entries": entries}}
	}
	for name, change := range map[string]map[string]any{
		"nothing":               {},
		"another project":       {"project": "q"},
		"no project":            {"project": ""},
		"another id":            {"id": backup.NewID()},
		"no id":                 {"id": "x"},
		"another type":          {"type": backup.Full},
		"no type":               {"type": "everything"},
		"another key":           {"key": "q/" + strings.TrimPrefix(good.key, "p/")},
		"a later attempt":       {"attempt": 2},
		"no attempt":            {"attempt": -1},
		"encrypted":             {"encrypted": true},
		"another format":        {"format": 2},
		"another day":           {"created_at": "2020-01-01T00:00:00Z"},
		"year 2262":             {"created_at": "2262-04-12T00:00:00Z"},
		"year 1":                {"created_at": "0001-01-01T00:00:00Z"},
		"no time":               {"created_at": "yesterday"},
		"size 2^62":             {"size": int64(1 << 62)},
		"size 2^64":             {"size": 18446744073709551616.0},
		"no size":               {"size": 0},
		"negative size":         {"size": -1},
		"another size":          {"size": 7},
		"no sum":                {"sha256": ""},
		"sum that is none":      {"sha256": strings.Repeat("z", 64)},
		"sum in capitals":       {"sha256": strings.Repeat("A", 64)},
		"manifest sum of none":  {"manifest_sha256": "00"},
		"parts null":            {"parts": nil},
		"no parts":              {"parts": []any{}},
		"part of another type":  {"parts": part("database", 1, 1)},
		"unknown part":          {"parts": part("../../etc", 1, 1)},
		"part full":             {"parts": part("full", 1, 1)},
		"part twice":            {"parts": append(part("config", 1, 1), part("config", 1, 1)...)},
		"part of 2^62 bytes":    {"parts": part("config", int64(1<<62), 1)},
		"part of -1 bytes":      {"parts": part("config", -1, 1)},
		"part of 2^62 entries":  {"parts": part("config", 1, int64(1<<62))},
		"part without entries":  {"parts": part("config", 1, 0)},
		"2^62 warnings of one":  {"warnings": []any{map[string]any{"code": "c", "count": int64(1 << 62), "sentence": "s"}}},
		"a warning of 1 MB":     {"warnings": []any{map[string]any{"code": "c", "count": 1, "sentence": strings.Repeat("x", 100_000)}}},
		"body hash with spaces": {"body_hash": "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fine)
			side := maps.Clone(good.side)
			maps.Copy(side, change)
			b.place(good.key, good.archive, side)
			all, err := b.w.Adopt(t.Context(), b.log, "local", nil)
			if err != nil || len(all) != 1 || all[0].Adopted != (name == "nothing") || all[0].Why == "" && name != "nothing" {
				t.Fatalf("%+v, %v", all, err)
			}
			if n := len(b.log.All()); name != "nothing" && n != 0 {
				t.Errorf("the log has %d events", n)
			}
		})
	}
}

// TestAForgedSidecarIsNoDamageOfTheLog since no adoption would end it.
func TestAForgedSidecarIsNoDamageOfTheLog(t *testing.T) {
	owner, good := adoptable(t)
	for name, c := range map[string]struct {
		change map[string]any
		known  bool // under another project
		want   bool
	}{
		"good":                {nil, false, true},
		"parts null":          {map[string]any{"parts": nil}, false, false},
		"another's id":        {nil, true, false},
		"size that cannot be": {map[string]any{"size": int64(1 << 62)}, false, false},
	} {
		b := newBench(t, fine)
		side := maps.Clone(good.side)
		maps.Copy(side, c.change)
		b.place(good.key, good.archive, side)
		if c.known {
			e := events.BackupRequested{Pool: "default", Type: backup.Config, Destination: "local"}
			if _, err := b.log.Append(t.Context(), events.BackupAggregate("other", owner.a.ID), 0, e, events.Cause{}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		found, looks := false, 0
		err := b.w.Begin(ctx, b.log, worker.Damage{
			Found: func(context.Context, *events.DamageError) (bool, error) { found = true; stop(); return false, nil },
			Now: func() *events.DamageError {
				if looks++; looks > 1 { // the first look comes before the destinations
					stop()
				}
				return nil
			},
			Resolved: func(context.Context, *events.DamageError) error { return nil },
		})
		if stop(); err != nil || found != c.want {
			t.Errorf("%s: found damage: %v, %v", name, found, err)
		}
	}
}

// TestAnIDBelongsToTheProjectThatFirstHadIt lets a project claim the backup of another.
func TestAnIDBelongsToTheProjectThatFirstHadIt(t *testing.T) {
	b, good := adoptable(t)
	forged := maps.Clone(good.side)
	key := "a-thief/" + strings.TrimPrefix(good.key, "p/")
	forged["project"], forged["key"] = "a-thief", key
	b.place(key, good.archive, forged)
	all, err := b.w.Adopt(t.Context(), b.log, "local", nil)
	if err != nil || len(all) != 2 || all[0].Adopted || !strings.Contains(all[0].Why, "belongs to the project p, not to a-thief") || !all[1].Known {
		t.Errorf("known: %+v, %v", all, err)
	}
	lost := newBench(t, fine, func(c *worker.Config) { c.Destinations = map[string]destination.Store{"local": b.store} })
	for _, projects := range [][]string{nil, {"a-thief"}, {"p"}} {
		all, err := lost.w.Adopt(t.Context(), lost.log, "local", projects)
		if err != nil || len(all) == 0 || len(lost.log.All()) != 0 {
			t.Fatalf("%v: %+v, %v, %d events", projects, all, err, len(lost.log.All()))
		}
		for _, a := range all {
			if !strings.Contains(a.Why, "the projects a-thief, p all claim the backup") {
				t.Errorf("%v: %+v", projects, a)
			}
		}
	}
}

// TestAVerificationSeesThroughAForgedSidecar whose sums are right and which describes
// other parts than the archive has.
func TestAVerificationSeesThroughAForgedSidecar(t *testing.T) {
	_, good := adoptable(t)
	for name, change := range map[string]map[string]any{
		"nothing":          {},
		"another manifest": {"manifest_sha256": strings.Repeat("0", 64)},
		"other parts":      {"parts": []any{map[string]any{"name": "config", "bytes": 1 << 40, "entries": 77}}},
		"another sum":      {"sha256": strings.Repeat("0", 64)},
	} {
		b := newBench(t, fine)
		side := maps.Clone(good.side)
		maps.Copy(side, change)
		b.place(good.key, good.archive, side)
		all, err := b.w.Adopt(t.Context(), b.log, "local", nil)
		if err != nil || len(all) != 1 || !all[0].Adopted {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		b.a = events.BackupAggregate("p", all[0].ID)
		if !b.state().Unverified {
			t.Errorf("%s: an adopted backup counts as verified", name)
		}
		if err := b.w.Verify(t.Context(), &backup.Verify{ID: b.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
			t.Fatal(err)
		}
		if s := b.state(); s.Unverified != (name != "nothing") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
