package supabase_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

// folder writes a project; files override the defaults, "" removes one. A name that
// ends with a slash is a folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "My-Project")
	all := map[string]string{
		".env": "POSTGRES_PASSWORD=p@ss:w/rd\nPOSTGRES_DB=postgres\n",
		"docker-compose.yml": "services:\n  db: {container_name: supabase-db}\n  supavisor: {ports: [\"5432:5432\", \"6543:6543\"]}\n" +
			"  storage: {volumes: [\"./volumes/storage:/var/lib/storage:z\"]}\n  functions: {volumes: [\"./volumes/functions:/home/deno/functions\"]}\n",
		"volumes/storage/.keep":           "x",
		"volumes/functions/main/index.ts": "x",
	}
	maps.Copy(all, files)
	for name, text := range all {
		if text == "" {
			continue
		}
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
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

// container scripts a docker that knows one container.
func container(name, address string, labels map[string]string) string {
	b, err := json.Marshal([]map[string]any{{
		"Name": "/" + name, "Config": map[string]any{"Labels": labels}, "NetworkSettings": map[string]any{"Networks": map[string]any{"n": map[string]any{"IPAddress": address}}},
	}})
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`[ "$1 $2" = "inspect %s" ] && echo '%s' && exit; %s`, name, b, noDocker)
}

func of(dir string) map[string]string {
	return map[string]string{"com.docker.compose.project.working_dir": dir, "com.docker.compose.project": "x"}
}

func find(t *testing.T, dir string, o supabase.Options) project.Project {
	t.Helper()
	if o.Docker == "" {
		o.Docker = docker(t, noDocker)
	}
	return supabase.Find(t.Context(), dir, o)
}

func TestTheDatabaseIsReached(t *testing.T) {
	const db = "services:\n  db:\n    ports: %s\n"
	for name, c := range map[string]struct {
		compose, override, env, container, url, want string
	}{
		"by its URL":                 {url: "postgres://u@h:1/d", want: "postgres://u@h:1/d"},
		"by a published port":        {compose: fmt.Sprintf(db, `["54322:5432"]`), container: "supabase-db", want: "@127.0.0.1:54322/postgres"},
		"by a port with an address":  {compose: fmt.Sprintf(db, `["192.0.2.7:54322:5432/tcp"]`), want: "@192.0.2.7:54322/"},
		"by a port of IPv6":          {compose: fmt.Sprintf(db, `["[::1]:54322:5432"]`), want: "@[::1]:54322/"},
		"by a port in the long form": {compose: fmt.Sprintf(db, `[{target: 5432, published: "54399", host_ip: 127.0.0.1}]`), want: "@127.0.0.1:54399/"},
		"by a port from .env":        {compose: fmt.Sprintf(db, `["${DB_PORT:-1}:5432"]`), env: "POSTGRES_PASSWORD=x\nDB_PORT=54000\n", want: "@127.0.0.1:54000/"},
		"by a port's default":        {compose: fmt.Sprintf(db, `["${DB_PORT:-54111}:5432"]`), want: "@127.0.0.1:54111/"},
		"by the override's port":     {override: fmt.Sprintf(db, `["54333:5432"]`), want: "@127.0.0.1:54333/"},
		"by its container":           {container: "supabase-db", want: "supabase_admin:p%40ss%3Aw%2Frd@172.18.0.5:5432/postgres"},
		"by its own port 6543":       {compose: fmt.Sprintf(db, `["6543:5432"]`), want: "@127.0.0.1:6543/"},
		"not by the pooler's port": {
			compose: "services:\n  db: {container_name: supabase-db, ports: [\"5432:5432\"]}\n  supavisor: {ports: [\"5432:5432\"]}\n", container: "supabase-db", want: "@172.18.0.5:5432/",
		},
		"by compose's own name": {compose: "services: {db: {image: supabase/postgres}}\n", container: "my-project-db-1", want: "@172.18.0.5:5432/"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"docker-compose.override.yml": c.override}
			if c.compose != "" {
				files["docker-compose.yml"] = c.compose
			}
			if c.env != "" {
				files[".env"] = c.env
			}
			dir, script := folder(t, files), noDocker
			if c.container != "" {
				script = container(c.container, "172.18.0.5", of(dir))
			}
			got, err := find(t, dir, supabase.Options{DatabaseURL: c.url, Docker: docker(t, script)}).Server.URL(t.Context())
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
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

// TestAContainerOfAnotherFolderIsNotTaken even if it has the right name.
func TestAContainerOfAnotherFolderIsNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"another folder":  {of("/srv/other"), "belongs to the folder /srv/other"},
		"another project": {map[string]string{"com.docker.compose.project": "other"}, "belongs to the compose project other"},
		"no compose":      {nil, "was not made by compose"},
	} {
		p := find(t, folder(t, nil), supabase.Options{Docker: docker(t, container("supabase-db", "172.18.0.5", c.labels))})
		if got, err := p.Server.URL(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	own := map[string]string{"com.docker.compose.project": "my-project"}
	p := find(t, folder(t, nil), supabase.Options{Docker: docker(t, container("supabase-db", "172.18.0.5", own))})
	if got, err := p.Server.URL(t.Context()); err != nil || !strings.Contains(got, "172.18.0.5") {
		t.Errorf("its own project without a folder: %q, %v", got, err)
	}
}

// TestAContainerWithAnotherNameIsFoundByItsLabels as after `docker compose -p other up`.
func TestAContainerWithAnotherNameIsFoundByItsLabels(t *testing.T) {
	dir := folder(t, nil)
	script := fmt.Sprintf(`[ "$1" = ps ] && case "$*" in *working_dir=%s*service=db*) echo abc; exit;; esac; %s`, dir, container("abc", "172.18.0.9", of(dir)))
	got, err := find(t, dir, supabase.Options{Docker: docker(t, script)}).Server.URL(t.Context())
	if err != nil || !strings.Contains(got, "@172.18.0.9:5432/") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheRootKeyIsFoundByItsVolume(t *testing.T) {
	mount := t.TempDir()
	script := fmt.Sprintf(`[ "$1 $2 $5" = "volume inspect my-project_db-config" ] && echo %s`, mount)
	dir := folder(t, map[string]string{"docker-compose.yml": "services: {db: {image: supabase/postgres, volumes: [\"db-config:/etc/postgresql-custom\"]}}\nvolumes: {db-config: }\n"})
	part := find(t, dir, supabase.Options{Docker: docker(t, script)}).Parts[0].(*project.DatabasePart)
	if got := part.RootKey(t.Context()); got.Path != "" {
		t.Errorf("found %q before there is one", got)
	}
	want := filepath.Join(mount, "pgsodium_root.key")
	if err := os.WriteFile(want, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := part.RootKey(t.Context()); got.Path != want || got.Within != mount {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestVariablesOfFunctions come from .env, from what stands in the compose files,
// and from their env_file.
func TestVariablesOfFunctions(t *testing.T) {
	dir := folder(t, map[string]string{
		"docker-compose.yml":          "services:\n  functions:\n    volumes: [\"./volumes/functions:/home/deno/functions\"]\n    env_file: [.env.functions, {path: more.env, required: false}, none.env]\n    environment: {JWT_SECRET: x}\n",
		"docker-compose.override.yml": "services: {functions: {environment: [INLINE=1]}}\n",
		".env.functions":              "MAIL_KEY=secret\n", "more.env": "MORE=1\n",
	})
	for _, part := range find(t, dir, supabase.Options{}).Parts {
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
