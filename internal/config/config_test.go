package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
)

type folder struct {
	Path string `yaml:"path"`
}

func (f *folder) Check() []string {
	if f.Path == "" {
		return []string{"path is missing"}
	}
	return nil
}

func drivers(name string) (any, bool) { return &folder{}, name == "local" }

func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, drivers)
}

const whole = `
data_dir: /var/lib/holdfast
http: {listen: 127.0.0.1:9000, max_wait: 10m}
nats: {url: "", replicas: 1}
services: [gateway, backup, restore, catalog]
pool: default
min_free: 2GiB
backup: {slots: 2, ack_wait: 15s, stall_timeout: 5m, lock_timeout: 30s}
restore: {slots: 1, keep_old: 24h, role_passwords: server}
projects:
  - {id: my-project, name: My Project, supabase: /srv/docker}
  - id: other
    database: {url: "postgres://a:${DB_PASSWORD}@127.0.0.1:5432/postgres"}
    config: {root: /srv/other, include: [.env, "volumes/api/**"], exclude: []}
default_destination: local
destinations:
  local: {path: "${file:FILE}/$$x"}
encryption: {default: false, recipients: [], identity_file: ""}
keys:
  - {name: ci, hash: "sha256:0000000000000000000000000000000000000000000000000000000000000000", permissions: {backups: write}, projects: ["*"], expires: ""}
`

func TestWholeFile(t *testing.T) {
	t.Setenv("DB_PASSWORD", "s3cret")
	secret := filepath.Join(t.TempDir(), "path")
	if err := os.WriteFile(secret, []byte("/backups\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, strings.ReplaceAll(whole, "FILE", secret))
	if err != nil {
		t.Fatal(err)
	}
	if c.MinFree != 2<<30 || c.Backup.StallTimeout != 5*time.Minute || c.HTTP.MaxWait != 10*time.Minute || len(c.Projects) != 2 || c.Projects[1].Name != "other" {
		t.Errorf("%+v", c)
	}
	if got := c.Projects[1].Database.URL; got != "postgres://a:s3cret@127.0.0.1:5432/postgres" {
		t.Errorf("url %q", got)
	}
	if got := c.Destinations["local"].(*folder).Path; got != "/backups/$x" {
		t.Errorf("path %q", got)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown keys with their lines": {
			"data_dir: /x\nmin_fre: 1GiB\nhttp:\n  listn: x\nprojects:\n  - id: a\n    supabse: /x\ndestinations:\n  local: {path: /x, pth: y}\n",
			[]string{":2: min_fre is unknown", ":4: http.listn is unknown; there is listen, max_wait, tls", ":7: projects[0].supabse is unknown"},
		},
		"unknown settings of a destination": {"destinations:\n  local:\n    path: /x\n    pth: y\n", []string{":4: destinations.local.pth is unknown"}},
		"values": {
			"http: {listen: nonsense, max_wait: 1ms}\nnats: {replicas: 2}\nservices: [gatway]\npool: BAD\nprojects:\n  - {id: Bad_ID}\n  - {id: a, database: {url: 'postgres://u@h:6543/d'}}\n  - {id: a, supabase: /x, storage: {backend: s3}}\nencryption: {default: true}\nkeys:\n  - {hash: x, permissions: {things: write}, expires: soon}\ndefault_destination: s3\ndestinations:\n  local: {}\n  ftp: {}\n",
			[]string{
				":1: http.listen must be host:port", ":1: http.max_wait", ":2: nats.replicas", `:3: services[0] is "gatway"`, ":4: pool must match", ":6: projects[0].id", ":6: projects[0] has no part",
				":7: projects[1].database.url leads to port 6543", ":8: projects[2].id \"a\" is there twice", ":8: projects[2].storage.backend", ":9: encryption.default needs",
				":11: keys[0].name is missing", ":11: keys[0].hash", ":11: keys[0].permissions", ":11: keys[0].expires", `:12: default_destination is "s3"`, "destinations.local.path is missing", "destinations.ftp is not a destination",
			},
		},
		"unknown keys of a part":     {"projects:\n  - id: a\n    supabase: /x\n    storage:\n      pth: y\n", []string{":5: projects[0].storage.pth is unknown; there is path, tenant, backend"}},
		"neither none nor a mapping": {"projects:\n  - id: a\n    supabase: /x\n    storage: nona\n", []string{":4: projects[0].storage is \"nona\"; it must be a mapping"}},
		"allowed paths, no folder":   {"projects:\n  - {id: a, allowed_paths: [x], database: {url: 'postgres://u@h/d'}}\n", []string{":2: projects[0].allowed_paths belongs to a project with supabase"}},
		"an empty allowed path":      {"projects:\n  - {id: a, supabase: /srv/a, allowed_paths: ['']}\n", []string{":2: projects[0].allowed_paths has an empty path"}},
		"an env_file of no folder":   {"projects:\n  - {id: a, env_file: x, database: {url: 'postgres://u@h/d'}}\n", []string{":2: projects[0].env_file belongs to a project with supabase"}},
		"a missing variable":         {"data_dir: /x\npool: ${NO_SUCH_VARIABLE_HERE}\n", []string{":2: ${NO_SUCH_VARIABLE_HERE}: this variable of the environment is not set"}},
		"a missing file":             {"pool: ${file:/nonexistent}\n", []string{":1: ${file:/nonexistent}: open /nonexistent"}},
		"another password":           {"restore: {role_passwords: none}\n", []string{`:1: restore.role_passwords is "none"; it must be backup or server`}},
		"a wrong type":               {"backup: {slots: many}\n", []string{"[1:17] cannot unmarshal string", "Backup of type int"}},
		"a wrong size":               {"min_free: lots\n", []string{`"lots" is not a size`}},
		"not YAML":                   {"a: [b\n", []string{"holdfast.yaml"}},
	} {
		_, err := load(t, c.text)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in\n%v", name, w, err)
			}
		}
	}
}

// TestPartsMayBeNone says that a part is not backed up, or where it is.
func TestPartsMayBeNone(t *testing.T) {
	c, err := load(t, "projects:\n  - {id: a, supabase: /x, storage: none, functions: {path: /f}, config: {max_file: 1MiB}}\n  - {id: b, supabase: /y, storage: {path: /s, tenant: a/b}, functions: none}\n  - id: c\n    supabase: /z\n    storage:\n")
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Projects[0], c.Projects[1]
	if !a.Storage.None || a.Storage.Path != "" || a.Functions.None || a.Functions.Path != "/f" || a.Config.MaxFile != 1<<20 {
		t.Errorf("%+v", a)
	}
	if b.Storage.None || b.Storage.Path != "/s" || b.Storage.Tenant != "a/b" || !b.Functions.None || b.Config.MaxFile != 64<<20 {
		t.Errorf("%+v", b)
	}
}

func TestNoFileMeansDefaults(t *testing.T) {
	t.Setenv(config.Variable, "")
	c, err := config.Load("", drivers)
	if err != nil || c.DataDir != "./holdfast-data" || c.Destinations["local"].(*folder).Path != "./holdfast-data/backups" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := config.Load("/nonexistent", drivers); err == nil {
		t.Error("a missing file was read")
	}
	c, err = load(t, "")
	if err != nil || !c.Has(config.Gateway) || c.Has("x") {
		t.Errorf("an empty file: %+v, %v", c, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Size{"10": 10, "1KiB": 1024, "1.5MiB": 1536 << 10, "2GB": 2e9, "\"3TiB\"": 3 << 40} {
		var s config.Size
		if err := s.UnmarshalYAML([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v; want %d", text, s, err, want)
		}
	}
}
