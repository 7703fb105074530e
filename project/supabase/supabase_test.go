package supabase_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

// folder writes a project; files override the defaults, "" removes one.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "My-Project")
	all := map[string]string{
		".env":                            "POSTGRES_PASSWORD=p@ss:w/rd\nPOSTGRES_DB=postgres\n",
		"docker-compose.yml":              "services:\n  db: {container_name: supabase-db}\n  supavisor: {ports: [\"5432:5432\", \"6543:6543\"]}\n",
		"volumes/storage/.keep":           "x",
		"volumes/functions/main/index.ts": "x",
	}
	maps.Copy(all, files)
	for name, text := range all {
		if text == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// docker writes a scripted docker command.
func docker(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "docker")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

const noDocker = `echo "no such container" >&2; exit 1`

func TestTheDatabaseIsReached(t *testing.T) {
	const db = "services:\n  db:\n    ports: %s\n"
	up := `[ "$1 $4" = "inspect supabase-db" ] && echo "172.18.0.5 "`
	for name, c := range map[string]struct {
		compose, override, env, docker, url, want string
	}{
		"by its URL":                 {url: "postgres://u@h:1/d", want: "postgres://u@h:1/d"},
		"by a published port":        {compose: fmt.Sprintf(db, `["54322:5432"]`), docker: up, want: "@127.0.0.1:54322/postgres"},
		"by a port with an address":  {compose: fmt.Sprintf(db, `["192.0.2.7:54322:5432/tcp"]`), want: "@192.0.2.7:54322/"},
		"by a port in the long form": {compose: fmt.Sprintf(db, `[{target: 5432, published: "54399", host_ip: 127.0.0.1}]`), want: "@127.0.0.1:54399/"},
		"by a port from .env":        {compose: fmt.Sprintf(db, `["${DB_PORT:-1}:5432"]`), env: "POSTGRES_PASSWORD=x\nDB_PORT=54000\n", want: "@127.0.0.1:54000/"},
		"by a port's default":        {compose: fmt.Sprintf(db, `["${DB_PORT:-54111}:5432"]`), want: "@127.0.0.1:54111/"},
		"by the override's port":     {override: fmt.Sprintf(db, `["54333:5432"]`), want: "@127.0.0.1:54333/"},
		"by its container":           {docker: up, want: "supabase_admin:p%40ss%3Aw%2Frd@172.18.0.5:5432/postgres"},
		"not by the pooler's port":   {compose: fmt.Sprintf(db, `["6543:5432"]`), docker: up, want: "@172.18.0.5:5432/"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"docker-compose.override.yml": c.override}
			if c.compose != "" {
				files["docker-compose.yml"] = c.compose
			}
			if c.env != "" {
				files[".env"] = c.env
			}
			if c.docker == "" {
				c.docker = noDocker
			}
			got, err := find(t, folder(t, files), supabase.Options{DatabaseURL: c.url, Docker: docker(t, c.docker)}).Server.URL(t.Context())
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func find(t *testing.T, dir string, o supabase.Options) project.Project {
	t.Helper()
	f, err := supabase.Find(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return f.Project()
}

func TestAllWaysAreNamedWhenTheDatabaseIsNotFound(t *testing.T) {
	p := find(t, folder(t, nil), supabase.Options{Docker: docker(t, noDocker)})
	_, err := p.Server.URL(t.Context())
	if err == nil {
		t.Fatal("found")
	}
	for _, want := range []string{"database.url", "publishes no port", "docker-compose.yml", "docker inspect supabase-db", "no such container"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestWhatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := supabase.Find(folder(t, map[string]string{".env": "", "docker-compose.yml": ""}), supabase.Options{})
	if err == nil || !strings.Contains(err.Error(), ".env is missing") || !strings.Contains(err.Error(), "none of docker-compose.yml") {
		t.Errorf("got %v", err)
	}
	if _, err := supabase.Find("/nonexistent", supabase.Options{}); err == nil {
		t.Error("a folder that is not there was found")
	}
	if _, err := supabase.Find(folder(t, map[string]string{".env": "STORAGE_BACKEND=s3\n"}), supabase.Options{}); err == nil || !strings.Contains(err.Error(), "S3 cannot be backed up yet") {
		t.Errorf("got %v", err)
	}
}

func TestPartsAndTenantAreFound(t *testing.T) {
	p := find(t, folder(t, map[string]string{
		".env":               "POSTGRES_PASSWORD=x\nSTORAGE_TENANT_ID=tenant\n",
		"docker-compose.yml": "services:\n  storage:\n    environment: [\"GLOBAL_S3_BUCKET=bucket\", \"TENANT_ID=${STORAGE_TENANT_ID}\"]\n",
	}), supabase.Options{})
	var names []string
	for _, part := range p.Parts {
		names = append(names, part.Name())
		if s, ok := part.(*project.StoragePart); ok && s.Tenant != "bucket/tenant" {
			t.Errorf("tenant %q", s.Tenant)
		}
	}
	if got := strings.Join(names, " "); got != "database storage functions config" {
		t.Errorf("parts %s", got)
	}
}

func TestTheRootKeyIsFoundByItsVolume(t *testing.T) {
	mount := t.TempDir()
	script := fmt.Sprintf(`[ "$1 $2 $5" = "volume inspect my-project_db-config" ] && echo %s`, mount)
	part := find(t, folder(t, nil), supabase.Options{Docker: docker(t, script)}).Parts[0].(*project.DatabasePart)
	if got := part.RootKey(t.Context()); got != "" {
		t.Errorf("found %q before there is one", got)
	}
	want := filepath.Join(mount, "pgsodium_root.key")
	if err := os.WriteFile(want, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := part.RootKey(t.Context()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestVariablesOfFunctions come from .env, from what stands in the compose files,
// and from their env_file.
func TestVariablesOfFunctions(t *testing.T) {
	dir := folder(t, map[string]string{
		"docker-compose.yml":          "services:\n  functions:\n    env_file: [.env.functions, {path: more.env, required: false}, none.env]\n    environment: {JWT_SECRET: x}\n",
		"docker-compose.override.yml": "services: {functions: {environment: [INLINE=1]}}\n",
		".env.functions":              "MAIL_KEY=secret\n", "more.env": "MORE=1\n",
	})
	f, err := supabase.Find(dir, supabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range f.Project().Parts {
		if p, ok := part.(*project.FunctionsPart); ok {
			env, err := p.Env()
			for _, name := range []string{"POSTGRES_PASSWORD", "JWT_SECRET", "INLINE", "MAIL_KEY", "MORE"} {
				if err != nil || !env[name] {
					t.Errorf("%s is not among %v, %v", name, env, err)
				}
			}
			return
		}
	}
	t.Error("the functions were not found")
}
