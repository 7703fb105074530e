package project_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

// target returns how to restore an archive and where its warnings go.
func target(t *testing.T, b []byte, part string, s *project.Server) (project.Target, *[]archive.Warning) {
	t.Helper()
	m, err := archive.ReadManifest(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var ws []archive.Warning
	to := project.Target{
		ID: "abcdefghij", At: time.Date(2026, 11, 25, 4, 15, 0, 0, time.UTC), Server: s, Scratch: filepath.Join(t.TempDir(), "scratch"),
		Warn: func(w archive.Warning) { ws = append(ws, w) },
	}
	i := slices.IndexFunc(m.Parts, func(p archive.Part) bool { return p.Name == part })
	if i < 0 {
		t.Fatalf("no part %s in %+v", part, m.Parts)
	}
	to.Source = m.Parts[i]
	if part == project.Database {
		to.Prints = fileOf(t, b, to.Source, "database/fingerprint.json")
	}
	return to, &ws
}

func reader(b []byte, p archive.Part) *archive.Reader {
	return archive.NewPartReader(bytes.NewReader(b), p)
}

// fileOf reads one file of a part.
func fileOf(t *testing.T, b []byte, p archive.Part, name string) []byte {
	t.Helper()
	r := reader(b, p)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("no %s", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == name {
			out, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
}

func problems(checks []project.Check) (out []string) {
	var needs []project.Need
	for _, c := range checks {
		needs = append(needs, c.Needs...)
	}
	for _, c := range append(slices.Clone(checks), project.CheckRoom(needs)...) {
		if c.Problem != "" {
			out = append(out, c.Name+": "+c.Problem)
		}
	}
	return out
}

// facts describes a database: what a fingerprint has of it, apart from its size,
// and what a dump of its schema says.
func facts(t *testing.T, pg *testenv.Postgres) map[string]any {
	t.Helper()
	p := project.Project{Parts: database(time.Minute), Server: server(pg.URL("postgres"), pg.Bin)}
	b, _, err := dump(t, p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.ReadManifest(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(fileOf(t, b, m.Parts[0], "database/fingerprint.json"), &out); err != nil {
		t.Fatal(err)
	}
	for _, db := range out["databases"].(map[string]any) {
		for _, o := range db.(map[string]any)["objects"].(map[string]any)["database"].([]any) {
			delete(o.(map[string]any), "bytes")
		}
	}
	schema := sh(t, t.TempDir(), pg.Bin+"/pg_dump --schema-only '"+pg.URL("postgres")+"' | grep -v '^\\\\' | grep -v '^-- Dump'")
	out["schema"] = slices.DeleteFunc(strings.Split(schema, "\n"), func(line string) bool { // privileges are in the fingerprint
		return strings.HasPrefix(line, "GRANT ") || strings.HasPrefix(line, "REVOKE ") || strings.HasPrefix(line, "--") || line == ""
	})
	return out
}

// damage does to a project what a bad night does.
const damage = `
DROP TABLE public.events CASCADE; DROP TABLE public.members CASCADE;
DELETE FROM public.orders WHERE id % 3 = 0; UPDATE public.orders SET total = total + 1 WHERE id % 5 = 0;
CREATE TABLE public.added (id int PRIMARY KEY, profile uuid REFERENCES public.profiles); CREATE VIEW public.added_view AS SELECT * FROM public.orders;
CREATE FUNCTION public.added_fn() RETURNS SETOF public.orders LANGUAGE sql AS 'SELECT * FROM public.orders';
REVOKE ALL ON public.profiles FROM authenticated; GRANT ALL ON public.cache TO anon;
DROP POLICY own_orders ON public.orders; ALTER TABLE public.profiles DISABLE ROW LEVEL SECURITY; CREATE POLICY wide ON public.orders USING (true);
DROP EVENT TRIGGER user_note_drop; DROP TRIGGER on_auth_user_created ON auth.users; DELETE FROM cron.job; DELETE FROM vault.secrets;
ALTER DATABASE postgres RESET app.settings.jwt_exp; ALTER ROLE app_reader IN DATABASE postgres SET statement_timeout = '99s';
DROP MATERIALIZED VIEW public.totals; SELECT lo_unlink(oid) FROM pg_largeobject_metadata; DROP PUBLICATION supabase_realtime;
REVOKE USAGE ON SCHEMA graphql_public FROM anon; SET storage.allow_delete_query = 'true'; DELETE FROM storage.objects WHERE bucket_id = 'avatars'`

func TestDatabaseComesBack(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Objects: 30})
			srv := server(src.DB.URL("postgres"), src.DB.Bin)
			before := facts(t, src.DB)
			b, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: srv})
			if err != nil {
				t.Fatal(err)
			}
			if err := src.DB.Exec(t.Context(), "postgres", damage); err != nil {
				t.Fatal(err)
			}
			damaged := facts(t, src.DB)
			to, ws := target(t, b, project.Database, srv)
			part := &project.DatabasePart{}
			r := part.Restoration(to)
			checks, err := r.Check(t.Context())
			if err != nil || len(problems(checks)) != 0 {
				t.Fatalf("%v, %v", problems(checks), err)
			}
			if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
				t.Fatal(err)
			}
			if got := facts(t, src.DB); !reflect.DeepEqual(got, damaged) {
				t.Error("Build changed the live database")
			}
			for range 2 { // the second time finds it done
				if err := r.Swap(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "after the restore", before, facts(t, src.DB))
			for _, w := range *ws {
				t.Logf("warning %s %s: %s", w.Code, w.Name, w.Sentence)
			}
			kept := part.Kept(to)
			for range 2 {
				if err := kept.Undo(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "after the undo", damaged, facts(t, src.DB))
			if err := kept.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := databases(t, src.DB); !slices.Equal(got, []string{"_supabase", "postgres", "template0", "template1"}) {
				t.Errorf("databases %v", got)
			}
		})
	}
}

// same compares two descriptions and says where they differ.
func same(t *testing.T, when string, want, got any) {
	t.Helper()
	if reflect.DeepEqual(want, got) {
		return
	}
	w, wok := want.(map[string]any)
	g, gok := got.(map[string]any)
	if wok && gok {
		for k := range w {
			same(t, when+", "+k, w[k], g[k])
		}
		return
	}
	ws, wok := want.([]string)
	gs, gok := got.([]string)
	if wok && gok {
		t.Errorf("%s: %s", when, firstDiff(strings.Join(ws, "\n"), strings.Join(gs, "\n")))
		return
	}
	wl, wok := want.([]any)
	gl, gok := got.([]any)
	if wok && gok && len(wl) == len(gl) {
		for i := range wl {
			if !reflect.DeepEqual(wl[i], gl[i]) {
				t.Errorf("%s: got %v, want %v", when, gl[i], wl[i])
			}
		}
		return
	}
	t.Errorf("%s: got %v, want %v", when, got, want)
}

func databases(t *testing.T, pg *testenv.Postgres) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), patient(pg, "template1"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT datname FROM pg_database ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func scalar(t *testing.T, pg *testenv.Postgres, query string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
