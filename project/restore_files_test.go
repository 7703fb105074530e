package project_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/testenv"
)

const listing = `find . -mindepth 1 -not -path './.holdfast-*' -printf '%P %y %m %l\n' | LC_ALL=C sort; find . -type f -not -path './.holdfast-*' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum; find . -type f -not -path './.holdfast-*' -print0 | LC_ALL=C sort -z | xargs -0r getfattr -d 2>/dev/null`

func list(t *testing.T, dir string) string {
	t.Helper()
	return sh(t, dir, listing)
}

func build(t *testing.T, r project.Restoration, b []byte, to project.Target) {
	t.Helper()
	checks, err := r.Check(t.Context())
	if err != nil || len(problems(checks)) > 0 {
		t.Fatalf("%v, %v", problems(checks), err)
	}
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
}

func TestFilesComeBack(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 60})
	srv := server(src.DB.URL("postgres"), src.DB.Bin)
	functions := filepath.Join(src.Dir, "volumes/functions")
	for _, c := range []struct {
		part   project.Part
		root   string
		damage string
	}{
		{&project.StoragePart{Path: src.StorageRoot()}, src.StorageRoot(), `rm -r stub/stub/documents; find . -name '*.png' | head -5 | tr '\n' '\0' | xargs -0 rm -r; find . -type f -print0 | xargs -0 setfattr -x user.supabase.content-type; touch stub/stub/more`},
		{&project.FunctionsPart{Path: functions}, functions, `echo broken > hello/index.ts; rm -r _shared; mkdir added; touch added/index.ts`},
		{&project.ConfigPart{Root: src.Dir, Include: []string{"*", ".env*", "volumes/api"}, Exclude: []string{"volumes/storage", "volumes/functions"}}, src.Dir, `echo X=1 > .env; rm run.sh; chmod 644 .env`},
	} {
		t.Run(c.part.Name(), func(t *testing.T) {
			before := list(t, c.root)
			b, _, err := dump(t, project.Project{Parts: []project.Part{c.part}, Server: srv})
			if err != nil {
				t.Fatal(err)
			}
			sh(t, c.root, c.damage)
			damaged := list(t, c.root)
			to, ws := target(t, b, c.part.Name(), srv)
			r := c.part.Restoration(to)
			build(t, r, b, to)
			if got := list(t, c.root); got != damaged {
				t.Errorf("Build changed what is there: %s", firstDiff(damaged, got))
			}
			for range 2 {
				if err := r.Swap(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := list(t, c.root); got != before {
				t.Errorf("after the restore: %s", firstDiff(before, got))
			}
			if len(*ws) != 0 {
				t.Errorf("warnings %+v", *ws)
			}
			again, _, err := dump(t, project.Project{Parts: []project.Part{c.part}, Server: srv})
			if err != nil || slices.ContainsFunc(names(t, again), func(n string) bool { return strings.Contains(n, ".holdfast-") }) {
				t.Errorf("a backup has what the restore keeps: %v %v", names(t, again), err)
			}
			for range 2 {
				if err := c.part.Kept(to).Undo(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := list(t, c.root); got != damaged {
				t.Errorf("after the undo: %s", firstDiff(damaged, got))
			}
			if err := c.part.Kept(to).Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(c.root + "/.holdfast-*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			sh(t, c.root, "true")
		})
	}
}

func names(t *testing.T, b []byte) (out []string) {
	for name := range entries(t, b) {
		out = append(out, name)
	}
	return out
}

func TestBadArchiveChangesNothing(t *testing.T) {
	root := t.TempDir()
	write(t, root, "main/index.ts", "hello/index.ts")
	part := &project.FunctionsPart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	before := list(t, root)
	to, _ := target(t, b, project.Functions, nil)
	for at := to.Source.Offset; at < to.Source.Offset+to.Source.Length; at += 37 {
		bad := slices.Clone(b)
		bad[at] ^= 0x10
		r := part.Restoration(to)
		err := r.Build(t.Context(), reader(bad, to.Source))
		if err == nil {
			continue // a byte that does not matter, such as the time in a gzip header
		}
		if err := r.Discard(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := list(t, root); got != before {
			t.Fatalf("byte %d: %s", at, firstDiff(before, got))
		}
	}
}

func TestAttributesAreRebuiltAndCounted(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 30})
	srv := server(src.DB.URL("postgres"), src.DB.Bin)
	part := &project.StoragePart{Path: src.StorageRoot()}
	before := list(t, src.StorageRoot())
	sh(t, src.StorageRoot(), `find . -type f -print0 | xargs -0 setfattr -x user.supabase.content-type`)
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}, Server: srv})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.DB.Exec(t.Context(), "postgres", `SET storage.allow_delete_query = 'true'; DELETE FROM storage.objects WHERE name IN (SELECT name FROM storage.objects ORDER BY name LIMIT 4);
		INSERT INTO storage.objects (bucket_id, name, version) VALUES ('avatars', 'dangling', 'v')`); err != nil {
		t.Fatal(err)
	}
	to, ws := target(t, b, project.Storage, srv)
	r := part.Restoration(to)
	build(t, r, b, to)
	if err := r.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	sentences := sentencesOf(*ws)
	for _, want := range []string{"1 storage objects of the database have no file", "4 restored storage files belong to no object", "26 storage files had lost their types"} {
		if !strings.Contains(sentences, want) {
			t.Errorf("%q is not in %s", want, sentences)
		}
	}
	if got := list(t, src.StorageRoot()); strings.Count(got, "content-type") != 26 || strings.Count(before, "content-type") != 30 {
		t.Errorf("%d types, want 26", strings.Count(got, "content-type"))
	}
}

func sentencesOf(ws []archive.Warning) string {
	var out []string
	for _, w := range ws {
		out = append(out, w.Sentence)
	}
	return strings.Join(out, "\n")
}

func TestFunctionsThatCannotStart(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"_shared/a.ts":         "export const a = 1;\n",
		"good/index.ts":        "import { a } from \"../_shared/a.ts\";\nimport x from 'npm:express@4';\nimport { z } from \"zod\";\n// import nothing from \"./gone.ts\"\nconst u = \"https://deno.land/x\";\nDeno.serve(() => new Response(a));\n",
		"good/deno.json":       `{"imports": {"zod": "npm:zod@3", "lib/": "./lib/"}}`,
		"gone/index.ts":        "import { b } from \"../_shared/b.ts\";\nexport * from '../../outside.ts';\n",
		"bare/index.ts":        "import express from \"express\";\nconst y = await import('lodash');\n",
		"badjson/index.ts":     "Deno.serve();\n",
		"badjson/deno.json":    "{imports",
		"noentry/other.ts":     "",
		"multi/index.ts":       "import {\n  one,\n  two,\n} from \"./none.ts\";\n/* import \"./x.ts\" */\n",
		".hidden/whatever.txt": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	part := &project.FunctionsPart{Path: root}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	to, ws := target(t, b, project.Functions, nil)
	build(t, part.Restoration(to), b, to)
	want := []string{
		"Some functions could not be restored due to missing dependencies",
		"The function badjson: its deno.json is not JSON.",
		`The function bare: it imports "express", which no deno.json or import_map.json explains; it imports "lodash", which no deno.json or import_map.json explains.`,
		"The function gone: it imports ../_shared/b.ts, which is not there; it imports ../../outside.ts, which is outside of the functions.",
		"The function multi: it imports ./none.ts, which is not there.",
		"The function noentry: it has no index.ts.",
		"The function main, which calls the others, is not in the backup.",
	}
	if got := sentencesOf(*ws); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestFunctionsWithoutTheirVariables: a restore of functions alone names what they
// read and nobody gives to them.
func TestFunctionsWithoutTheirVariables(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"main/index.ts": `const secret = Deno.env.get("JWT_SECRET")`,
		"mail/index.ts": "const key = Deno.env.get('MAIL_KEY')!; Deno.env.get(`MAIL_FROM`)\n// Deno.env.get('OLD')\nDeno.env.get('LOG_LEVEL') ?? 'info'; Deno.env.get('DENO_REGION')",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	part := &project.FunctionsPart{Path: root, Env: func() (map[string]bool, error) { return map[string]bool{"JWT_SECRET": true}, nil }}
	b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
	if err != nil {
		t.Fatal(err)
	}
	to, ws := target(t, b, project.Functions, nil)
	build(t, part.Restoration(to), b, to)
	want := "Some functions could not be restored due to missing dependencies\nThe function mail: it reads the variable MAIL_KEY, which neither .env nor the environment of the functions has; " +
		"it reads the variable MAIL_FROM, which neither .env nor the environment of the functions has."
	if got := sentencesOf(*ws); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	to, ws = target(t, b, project.Functions, nil)
	to.Config = true // brings .env of the same instant
	build(t, part.Restoration(to), b, to)
	if got := sentencesOf(*ws); got != "" {
		t.Errorf("with the configuration: %s", got)
	}
}

// TestForeignRestores brings parts of one project into another.
func TestForeignRestores(t *testing.T) {
	src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 15, Objects: 12})
	other := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: 17, Objects: 3})
	from, into := server(src.DB.URL("postgres"), src.DB.Bin), server(other.DB.URL("postgres"), other.DB.Bin)
	parts := []project.Part{&project.DatabasePart{LockTimeout: time.Minute}, &project.StoragePart{Path: src.StorageRoot()}, &project.ConfigPart{Root: src.Dir, Include: []string{".env*", "run.sh"}}}
	b, _, err := dump(t, project.Project{Parts: parts, Server: from})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.DB.Exec(t.Context(), "postgres", "UPDATE _realtime.tenants SET name = 'mine'"); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(other.Dir, ".env"))
	if err != nil {
		t.Fatal(err)
	}

	to, ws := target(t, b, project.Database, into)
	to.Foreign = true
	checks, err := (&project.DatabasePart{}).Restoration(to).Check(t.Context())
	if got := problems(checks); err != nil || len(got) != 1 || !strings.Contains(got[0], "replaced: The database of the other project is not empty") {
		t.Errorf("checks %v, %v", got, err)
	}
	r := (&project.DatabasePart{}).Restoration(to)
	if err := r.Build(t.Context(), reader(b, to.Source)); err != nil {
		t.Fatal(err)
	}
	files := &project.StoragePart{Path: other.StorageRoot(), Tenant: "bucket/tenant"}
	fto, fws := target(t, b, project.Storage, into)
	fto.Foreign, fto.Both = true, true
	fr := files.Restoration(fto)
	build(t, fr, b, fto)
	cto, cws := target(t, b, project.Config, into)
	cto.Foreign = true
	cr := (&project.ConfigPart{Root: other.Dir, Include: []string{"**"}}).Restoration(cto)
	build(t, cr, b, cto)
	for _, x := range []project.Restoration{r, fr, cr} {
		if err := x.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM public.orders": 20000, "SELECT count(*) FROM cron.job WHERE active": 0, "SELECT count(*) FROM cron.job": 1,
		"SELECT count(*) FROM _realtime.tenants WHERE name = 'mine'": 1, "SELECT count(*) FROM storage.objects": 12,
	} {
		if got := scalar(t, other.DB, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	said := sentencesOf(*ws)
	for _, want := range []string{"1 cron jobs of the other project are disabled", "vault secret api_key", "webhook order_webhook"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if len(*fws) != 0 || !strings.Contains(list(t, other.StorageRoot()), "bucket/tenant/avatars/users") {
		t.Errorf("storage: %+v\n%s", *fws, list(t, other.StorageRoot()))
	}
	if now, err := os.ReadFile(filepath.Join(other.Dir, ".env")); err != nil || string(now) != string(env) || !strings.Contains(sentencesOf(*cws), ".env was not restored") {
		t.Errorf("the secrets of the other project were touched: %v, %s", err, sentencesOf(*cws))
	}

	// And the way back is refused: 17 to 15.
	back, _, err := dump(t, project.Project{Parts: database(time.Minute), Server: into})
	if err != nil {
		t.Fatal(err)
	}
	bto, _ := target(t, back, project.Database, from)
	checks, err = (&project.DatabasePart{}).Restoration(bto).Check(t.Context())
	if got := problems(checks); err != nil || len(got) != 1 || !strings.Contains(got[0], "PostgreSQL 17, but the server is PostgreSQL 15") {
		t.Errorf("17 to 15: %v, %v", got, err)
	}
}
