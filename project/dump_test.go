package project_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
	"github.com/holdfast-dev/holdfast/testenv"
)

// dump writes parts into an archive and returns it with their warnings.
func dump(t *testing.T, p project.Project) (b []byte, ws []project.Warning, err error) {
	t.Helper()
	var buf bytes.Buffer
	w, err := archive.NewWriter(&buf, archive.Header{ID: "backup-a", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	s, err := project.Open(t.Context(), p.Server)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, part := range p.Parts {
		if err := w.Begin(part.Name()); err != nil {
			t.Fatal(err)
		}
		got, err := part.Dump(t.Context(), s, w)
		if err != nil {
			return nil, nil, err
		}
		ws = append(ws, got...)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), ws, nil
}

// entries reads an archive: names, entries, and contents of small files.
func entries(t *testing.T, b []byte) map[string]archive.Entry {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]archive.Entry{}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name] = e
	}
}

// unpack extracts an archive with standard tools.
func unpack(t *testing.T, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.tar.gz"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, dir, "tar --xattrs --xattrs-include='user.*' -xzpf a.tar.gz")
	return dir
}

func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func TestWholeProject(t *testing.T) {
	for _, major := range []int{15, 17} {
		src := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Objects: 600})
		b, ws, err := dump(t, supabase.Find(t.Context(), src.Dir, supabase.Options{Tools: src.DB.Bin, LockTimeout: 10 * time.Second, Docker: "false"}))
		if err != nil {
			t.Fatal(err)
		}
		if len(ws) != 1 || ws[0].Code != "vault_key_missing" {
			t.Errorf("PostgreSQL %d: warnings %+v, want only the missing key", major, ws)
		}
		dir := unpack(t, b)
		comparePart(t, src.StorageRoot(), filepath.Join(dir, "storage"))
		comparePart(t, filepath.Join(src.Dir, "volumes/functions"), filepath.Join(dir, "functions"))
		if got := sh(t, dir, "stat -c %a config/.env config/run.sh; readlink config/compose.link.yml; ls -A config config/volumes"); !strings.HasPrefix(got, "600\n755\ndocker-compose.yml\n") ||
			strings.Contains(got, "storage") || strings.Contains(got, "functions\n") && !strings.Contains(got, ".env.functions") {
			t.Errorf("config: %s", got)
		}
		restoreByHand(t, src, dir, major)
	}
}

// comparePart compares names, types, modes, contents and xattrs of two folders.
func comparePart(t *testing.T, want, got string) {
	t.Helper()
	const list = `find . -mindepth 1 -printf '%P %y %m %T@ %l\n' | sed 's/\.[0-9]* / /' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 getfattr -d 2>/dev/null`
	if a, b := sh(t, want, list), sh(t, got, list); a != b {
		t.Errorf("%s and %s differ:\n%s", want, got, firstDiff(a, b))
	}
}

func firstDiff(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] + "\n" + bs[i]
		}
	}
	return "one is longer"
}

// restoreByHand is the recipe of docs/operations.md on a fresh server.
func restoreByHand(t *testing.T, src *testenv.Supabase, dir string, major int) {
	t.Helper()
	fresh := testenv.NewCluster(t, testenv.PostgresConfig{Major: major, Password: testenv.ProjectPassword, ICU: true, Image: true}) // which the globals set
	var taken struct {
		Databases map[string]struct {
			Tables  map[string]int64
			Objects struct {
				Database []struct{ Provider, Locale string }
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "database/fingerprint.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &taken); err != nil {
		t.Fatal(err)
	}
	locale := taken.Databases["postgres"].Objects.Database[0]
	sh(t, dir, `export PATH='`+fresh.Bin+`':$PATH
psql() { command psql -q "$@"; }
to() { echo '`+fresh.URL("DATABASE")+`' | sed "s/DATABASE/$1/"; }
psql -d "$(to postgres)" -f database/globals.sql >globals.log 2>&1 || true
psql -d "$(to postgres)" -c "CREATE DATABASE restored TEMPLATE template0 LOCALE_PROVIDER `+locale.Provider+` ICU_LOCALE '`+locale.Locale+`'"
find database/postgres.dump -type f | sort | xargs cat > postgres.dump
pg_restore --create -f - postgres.dump | grep -E '^(ALTER DATABASE|ALTER ROLE .* IN DATABASE|(GRANT|REVOKE) .* ON DATABASE) ' |
  sed 's/ DATABASE postgres / DATABASE restored /' | psql -d "$(to postgres)"
pg_restore -l postgres.dump > all.list
grep -E ' (EXTENSION - pg_cron|COMMENT - EXTENSION pg_cron|[A-Z ]+ cron|ACL - SCHEMA cron) ' all.list > cron.list || true
grep -vxFf cron.list all.list > rest.list || cp all.list rest.list
path=public,extensions$(awk '$4 == "SCHEMA" && $6 !~ /^(public|extensions|cron)$/ {printf ",\"%s\"", $6}' all.list)
pg_restore -L rest.list -f - postgres.dump |
  sed "s/^SELECT pg_catalog.set_config('search_path', '', false);/SET search_path = $path;/" |
  psql -d "$(to restored)" -o restore.out 2>restore.log
psql -d "$(to template1)" -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('postgres', 'restored')" \
  -c 'ALTER DATABASE postgres RENAME TO postgres_old' -c 'ALTER DATABASE restored RENAME TO postgres' >swap.log
pg_restore -L cron.list -f - postgres.dump | psql -d "$(to postgres)" -o cron.out 2>cron.log
psql -d "$(to template1)" -c 'CREATE DATABASE internal TEMPLATE template0'
find database/_supabase.dump -type f | sort | xargs cat | pg_restore -d "$(to internal)"`)
	if n := scalar(t, fresh, "SELECT count(*) FROM pg_database WHERE datname = 'postgres' AND datdba = 'postgres'::regrole AND has_database_privilege('dashboard_user', oid, 'CREATE')"); n != 1 {
		t.Errorf("PostgreSQL %d: the owner or the privileges of the database are lost", major)
	}
	want := taken.Databases["postgres"].Tables
	got := counts(t, fresh.URL("postgres"))
	for name := range got {
		if _, ok := want[name]; !ok { // of an extension, and in no dump
			delete(got, name)
		}
	}
	if !reflect.DeepEqual(got, want) || want["cron.job"] == 0 {
		t.Errorf("PostgreSQL %d: rows\n%v\nwant\n%v\n%s", major, got, want, sh(t, dir, "tail -n 20 restore.log cron.log"))
	}
	all := counts(t, src.DB.URL("postgres"))
	for name, n := range want {
		if !strings.HasPrefix(name, "cron.") && name != "public.heartbeat" && name != "extensions.spatial_ref_sys" && all[name] != n { // jobs go on
			t.Errorf("PostgreSQL %d: the fingerprint says %d rows of %s, there are %d", major, n, name, all[name])
		}
	}
	if len(taken.Databases["_supabase"].Tables) != 2 {
		t.Errorf("PostgreSQL %d: fingerprint of _supabase: %v", major, taken.Databases["_supabase"].Tables)
	}
}

// counts counts the rows of all tables, apart from those of extensions that are
// not backed up.
func counts(t *testing.T, url string) map[string]int64 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE relkind = 'r' AND nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'net')`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, name := range names {
		var n int64
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM ONLY "+name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out[name] = n
	}
	return out
}
