package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
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

var checks = config.Checks{
	Destination: func(name string) (any, bool) { return &folder{}, name == "local" },
	Recipient: func(text string) error {
		if !strings.HasPrefix(text, "age1") {
			return errors.New("is no recipient")
		}
		return nil
	},
	Pattern: func(pattern string) error {
		if strings.HasPrefix(pattern, "/") {
			return errors.New("is no pattern")
		}
		return nil
	},
}

func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, checks)
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
	if got := string(c.Projects[1].Database.URL); got != "postgres://a:s3cret@127.0.0.1:5432/postgres" {
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
			[]string{":2: min_fre is unknown", ":4: http.listn is unknown; there is listen, metrics_listen, max_wait, max_queued, tls", ":7: projects[0].supabse is unknown"},
		},
		"unknown settings of a destination": {"destinations:\n  local:\n    path: /x\n    pth: y\n", []string{":4: destinations.local.pth is unknown"}},
		"values": {
			"http: {listen: nonsense, max_wait: 1ms, max_queued: 0}\nnats: {replicas: 2}\nservices: [gatway]\npool: BAD\nprojects:\n  - {id: Bad_ID}\n  - {id: a, database: {url: 'postgres://u@h:6543/d'}}\n  - {id: a, supabase: /x, storage: {backend: s3}}\nencryption: {default: true}\nkeys:\n  - {hash: x, permissions: {things: write}, expires: soon}\ndefault_destination: s3\ndestinations:\n  local: {}\n  ftp: {}\n",
			[]string{
				":1: http.listen must be host:port", ":1: http.max_wait", ":1: http.max_queued", ":2: nats.replicas", ":3: services[0] is unknown; there is gateway", ":4: pool must be 1 to 63", ":6: projects[0].id", ":6: projects[0] has no part",
				":7: projects[1].database.url leads to port 6543", ":8: projects[2].id is that of projects[1]", ":8: projects[2].storage.backend", ":9: encryption.default needs",
				":11: keys[0].name is missing", ":11: keys[0].hash", ":11: keys[0].permissions", ":11: keys[0].expires", ":12: default_destination must be one of the destinations: ftp, local", "destinations.local.path is missing", "destinations.ftp is not a destination",
			},
		},
		"unknown keys of a part":     {"projects:\n  - id: a\n    supabase: /x\n    storage:\n      pth: y\n", []string{":5: projects[0].storage.pth is unknown; there is path, tenant, backend"}},
		"neither none nor a mapping": {"projects:\n  - id: a\n    supabase: /x\n    storage: nona\n", []string{":4: projects[0].storage must be a mapping such as {path: /srv/files}, or the word none"}},
		"allowed paths, no folder":   {"projects:\n  - {id: a, allowed_paths: [x], database: {url: 'postgres://u@h/d'}}\n", []string{":2: projects[0].allowed_paths belongs to a project with supabase"}},
		"an empty allowed path":      {"projects:\n  - {id: a, supabase: /srv/a, allowed_paths: ['']}\n", []string{":2: projects[0].allowed_paths has an empty path"}},
		"an env_file of no folder":   {"projects:\n  - {id: a, env_file: x, database: {url: 'postgres://u@h/d'}}\n", []string{":2: projects[0].env_file belongs to a project with supabase"}},
		"a missing variable":         {"data_dir: /x\npool: ${NO_SUCH_VARIABLE_HERE}\n", []string{":2: pool refers to ${NO_SUCH_VARIABLE_HERE}: this variable of the environment is not set"}},
		"a missing file":             {"pool: ${file:/nonexistent}\n", []string{":1: pool refers to ${file:/nonexistent}: open /nonexistent"}},
		"another password":           {"restore: {role_passwords: none}\n", []string{":1: restore.role_passwords must be backup or server"}},
		"wrong types": {
			"min_free: lots\nbackup: {slots: many, ack_wait: 30}\nservices: gateway\nencryption: {default: 1}\nnats: [a]\nkeys: {a: b}\ndata_dir: [x]\n",
			[]string{
				":1: min_free must be a size such as 512MiB", ":2: backup.slots must be a whole number", ":2: backup.ack_wait must be a duration such as 30s", ":3: services must be a list",
				":4: encryption.default must be true or false", ":5: nats must be a mapping of url, replicas", ":6: keys must be a list", ":7: data_dir must be one value",
			},
		},
		"sizes that are none": {"min_free: -1\nprojects:\n  - {id: a, supabase: /x, config: {max_file: nan}}\n", []string{":1: min_free must be a size", ":3: projects[0].config.max_file must be a size"}},
		"a recipient and a pattern": {
			"encryption:\n  recipients:\n    - age1x\n    - AGE-SECRET-KEY-1X\nprojects:\n  - {id: a, config: {root: /x, include: [a, /b]}}\n",
			[]string{":4: encryption.recipients[1] is no recipient", ":6: projects[0].config.include[1] is no pattern"},
		},
		"a key twice":            {"keys:\n  - {name: a, hash: HASH}\n  - {name: b, hash: HASH}\n", []string{":3: keys[1].hash is that of keys[0]"}},
		"projects of a key":      {"keys:\n  - name: a\n    hash: HASH\n    projects:\n", []string{":4: keys[0].projects has no value; write [] for no project"}},
		"two ports that are one": {"http: {listen: 127.0.0.1:80, metrics_listen: 127.0.0.1:80}\n", []string{":1: http.metrics_listen must be another port"}},
		"a port that is none":    {"http:\n  metrics_listen: localhost:http\n", []string{":2: http.metrics_listen must be host:port"}},
		"a dollar in a password": {"nats:\n  listen: 127.0.0.1:1\n  user: a\n  password: a${b c}d\n", []string{":4: nats.password has ${…} around something"}},
		"not YAML":               {"a: [b\n", []string{"holdfast.yaml:1: "}},
		"a list":                 {"- a\n", []string{"holdfast.yaml:1: is not a mapping"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, strings.ReplaceAll(c.text, "HASH", "'sha256:"+strings.Repeat("0", 64)+"'"))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in\n%v", w, err)
				}
			}
		})
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
	c, err := config.Load("", checks)
	if err != nil || c.DataDir != "./holdfast-data" || c.Destinations["local"].(*folder).Path != "./holdfast-data/backups" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := config.Load("/nonexistent", checks); err == nil {
		t.Error("a missing file was read")
	}
	c, err = load(t, "")
	if err != nil || !c.Has(config.Gateway) || c.Has("x") {
		t.Errorf("an empty file: %+v, %v", c, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Size{"10": 10, "1KiB": 1024, "1.5MiB": 1536 << 10, "2GB": 2e9, "3TiB": 3 << 40} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v; want %d", text, s, err, want)
		}
	}
}

// TestNoErrorHoldsAValue gives every key the same secret, in files that are wrong in
// all kinds of ways.
func TestNoErrorHoldsAValue(t *testing.T) {
	const secret = "h0riz0n"
	for _, text := range []string{
		"nats: {password: SECRET, user: [SECRET]}\npool: SECRET-X/\nmin_free: SECRET\nservices: [SECRET]\ndefault_destination: SECRET\n",
		"nats:\n  password: SECRET\n  replicas: SECRET\n  user: {a: SECRET}\n  listen: SECRET\nhttp: {listen: SECRET, max_wait: SECRET, metrics_listen: SECRET}\n",
		"nats:\n  password: SECRET\n bad indent\n",
		"nats:\n  password: \"SECRET\n  user: x\n",
		"nats:\n  password: SECRET: x\n",
		"nats: {password: SECRET\n",
		"nats:\n  password: 'SECRET\n",
		"nats:\n  password: SECRET\n\tuser: x\n",
		"nats:\n  password: \"SECRET\\q\"\n",
		"nats:\n  password: a${SECRET d}\n",
		"nats:\n  password: @SECRET\n",
		"nats:\n  password: *SECRET\n",
		"nats:\n  password: !!int SECRET\n  password: SECRET\n",
		"SECRET\n", "- SECRET\n", "data_dir: x\n---\ndata_dir: SECRET\n",
		"projects:\n  - {id: SECRET/, supabase: [SECRET], database: {url: SECRET}, storage: SECRET, config: {root: x, max_file: SECRET, include: [/SECRET]}, restore: {timeout: SECRET, before: SECRET}}\n",
		"projects:\n  - {id: a, database: {url: 'postgres://u:SECRET@h:6543/d'}, env_file: SECRET, storage: {backend: SECRET}}\n",
		"encryption: {default: SECRET, recipients: [AGE-SECRET-KEY-SECRET]}\nrestore: {role_passwords: SECRET, keep_old: SECRET}\nbackup: {slots: SECRET}\n",
		"keys:\n  - {name: a, hash: SECRET, permissions: {backups: SECRET}, expires: SECRET, projects: SECRET}\n",
		"destinations: {local: {path: [SECRET]}}\n", "destinations: SECRET\n",
	} {
		_, err := load(t, strings.ReplaceAll(text, "SECRET", secret))
		if err == nil {
			t.Errorf("no error of\n%s", text)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("a value is in the error of\n%s\n%v", text, err)
		}
	}
}

// TestSecretsCannotBePrinted in any of the ways that the logs and errors use.
func TestSecretsCannotBePrinted(t *testing.T) {
	c, err := load(t, "nats: {url: 'nats://u:h0riz0n@127.0.0.1:4222', password: h0riz0n}\nprojects:\n  - {id: a, database: {url: 'postgres://u:h0riz0n@127.0.0.1/d'}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if string(c.NATS.Password) != "h0riz0n" {
		t.Error("the secret is lost")
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%s %q %x %d", c.NATS.Password, c.NATS.Password, c.NATS.Password, c.NATS.Password),
		fmt.Errorf("%w: %v", errors.New("x"), c.NATS.URL).Error(), c.NATS.Password.String(), string(asJSON),
	} {
		if strings.Contains(text, "h0riz0n") || strings.Contains(text, fmt.Sprintf("%x", "h0riz0n")) {
			t.Errorf("printed: %s", text)
		}
	}
}

// TestJSONIsYAML reads a configuration in JSON, whose keys are quoted.
func TestJSONIsYAML(t *testing.T) {
	for _, text := range []string{
		`{"data_dir": "/x", "min_free": "2GiB", "backup": {"slots": 3, "ack_wait": "15s"}, "projects": [{"id": "a", "supabase": "/s", "storage": "none"}], "destinations": {"local": {"path": "/b"}}}`,
		"{\n  \"data_dir\": \"/x\",\n  \"min_free\": 2147483648,\n  \"backup\": {\n    \"slots\": 3,\n    \"ack_wait\": \"15s\"\n  },\n  \"projects\": [\n    {\n      \"id\": \"a\",\n      \"supabase\": \"/s\",\n      \"storage\": \"none\"\n    }\n  ],\n  \"destinations\": {\n    \"local\": {\n      \"path\": \"/b\"\n    }\n  }\n}\n",
		"\"data_dir\": /x\n'min_free': 2GiB\n\"backup\":\n  \"slots\": 3\n  'ack_wait': \"15s\"\n\"projects\":\n  - \"id\": a\n    'supabase': /s\n    \"storage\": none\n\"destinations\":\n  \"local\": {\"path\": /b}\n",
	} {
		c, err := load(t, text)
		if err != nil || c.DataDir != "/x" || c.MinFree != 2<<30 || c.Backup.Slots != 3 || c.Backup.AckWait != 15*time.Second || len(c.Projects) != 1 || !c.Projects[0].Storage.None ||
			c.Destinations["local"].(*folder).Path != "/b" {
			t.Errorf("%+v, %v of\n%s", c, err, text)
		}
	}
	if _, err := load(t, `{"data_dir": "/x", "min_fre": 1}`); err == nil || !strings.Contains(err.Error(), ":1: min_fre is unknown") {
		t.Errorf("an unknown quoted key: %v", err)
	}
}

// TestAnchors may be used, also by an alias that leads nowhere.
func TestAnchors(t *testing.T) {
	c, err := load(t, "backup: {slots: &n 2}\nrestore: {slots: *n}\nprojects:\n  - {id: a, supabase: &s /x, config: &c {max_file: 1MiB}}\n  - {id: b, supabase: *s, config: *c}\nmin_free: !!str 1GiB\n")
	if err != nil || c.Restore.Slots != 2 || c.Projects[1].Supabase != "/x" || c.Projects[1].Config.MaxFile != 1<<20 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := load(t, "data_dir: x\npool: *b\n"); err == nil || !strings.Contains(err.Error(), ":2: pool refers to an anchor") {
		t.Errorf("an alias that leads nowhere: %v", err)
	}
}

// TestProjectsOfAKey: none in the list is nobody, no list is everybody.
func TestProjectsOfAKey(t *testing.T) {
	hash := strings.Repeat("0", 63)
	c, err := load(t, "keys:\n  - {name: a, hash: 'sha256:"+hash+"1'}\n  - {name: b, hash: 'sha256:"+hash+"2', projects: []}\n  - {name: c, hash: 'sha256:"+hash+"3', expires: 2001-01-01T00:00:00Z}\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Keys[0].Projects != nil || c.Keys[1].Projects == nil || len(c.Keys[1].Projects) != 0 {
		t.Errorf("%+v", c.Keys)
	}
	if at, err := c.Keys[2].ExpiresAt(); err != nil || at.Year() != 2001 {
		t.Errorf("%v, %v", at, err)
	}
}

// FuzzLoad reads files of any kind: it returns a configuration or an error.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{whole, "a: &a {b: *a}\n", "- &x [*x]\n", `{"keys": [{"hash": null}]}`, "projects: [{storage: !!str none}]\n", "? a\n: b\n", "<<: {a: b}\n", "destinations: {local: }\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "holdfast.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := config.Load(path, checks); err == nil && c.DataDir == "" {
			t.Errorf("no error and no data_dir: %q", text)
		}
	})
}
