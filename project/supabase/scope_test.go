package supabase_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

const dbWith = "services: {db: {image: supabase/postgres, ports: [\"1:5432\"], %s}}\n"

func db(more string) string { return strings.Replace(dbWith, "%s", more, 1) }

// link makes a symbolic link in the place of what is there.
func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// TestNoFileOutsideIsReadAsAPartOfTheProject whoever may write to its folder. Each case
// would have given the password of another project to whom the files name as server.
func TestNoFileOutsideIsReadAsAPartOfTheProject(t *testing.T) {
	const other = "../other/"
	for name, c := range map[string]struct {
		files map[string]string
		links map[string]string
	}{
		"COMPOSE_FILE":                   {files: map[string]string{".env": "COMPOSE_FILE=" + other + "compose.yml\n"}},
		"CONFIG":                         {files: map[string]string{".env": "CONFIG=/../../other/x\n"}, links: map[string]string{"docker-compose.": "../other"}},
		"a compose file that is a link":  {links: map[string]string{"docker-compose.yml": other + "compose.yml"}},
		"an override that is a link":     {links: map[string]string{"docker-compose.override.yml": other + "compose.yml"}},
		"include":                        {files: map[string]string{"docker-compose.yml": "include: [" + other + "compose.yml]\n", ".env": ""}},
		"include of an include":          {files: map[string]string{"docker-compose.yml": "include: [sub/a.yml]\n", "sub/a.yml": "include: [../../other/compose.yml]\n", ".env": ""}},
		"include through a link":         {files: map[string]string{"docker-compose.yml": "include: [sub/compose.yml]\n", ".env": ""}, links: map[string]string{"sub": "../other"}},
		"the env_file of an include":     {files: map[string]string{"docker-compose.yml": "include: [{path: sub/a.yml, env_file: " + other + "db.env}]\n", "sub/a.yml": db("environment: [POSTGRES_PASSWORD]"), ".env": ""}},
		"the directory of an include":    {files: map[string]string{"docker-compose.yml": "include: [{path: sub/a.yml, project_directory: ../other}]\n", "sub/a.yml": db("environment: [POSTGRES_PASSWORD]"), ".env": ""}},
		"extends":                        {files: map[string]string{"docker-compose.yml": "services: {db: {extends: {file: " + other + "compose.yml, service: db}, ports: [\"1:5432\"]}}\n", ".env": ""}},
		"extends of an extended service": {files: map[string]string{"docker-compose.yml": "services: {db: {extends: {file: sub/a.yml, service: db}}}\n", "sub/a.yml": "services: {db: {extends: {file: ../../other/compose.yml, service: db}}}\n", ".env": ""}},
		"env_file":                       {files: map[string]string{"docker-compose.yml": db("env_file: [" + other + "db.env]"), ".env": ""}},
		"an env_file that is a link":     {files: map[string]string{"docker-compose.yml": db("env_file: [db.env]"), ".env": ""}, links: map[string]string{"db.env": other + "db.env"}},
		".env that is a link":            {links: map[string]string{".env": other + "db.env"}},
		"a secret":                       {files: map[string]string{"docker-compose.yml": db("environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}, secrets: [pw]") + "secrets: {pw: {file: " + other + "password}}\n", ".env": ""}},
		"a secret that is a link":        {files: map[string]string{"docker-compose.yml": db("environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}, secrets: [pw]") + "secrets: {pw: {file: pw}}\n", ".env": ""}, links: map[string]string{"pw": other + "password"}},
		"a mounted password":             {files: map[string]string{"docker-compose.yml": db("environment: {POSTGRES_PASSWORD_FILE: /pw/password}, volumes: [\"" + other + ":/pw\"]"), ".env": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.files == nil {
				c.files = map[string]string{}
			}
			if _, ok := c.files["docker-compose.yml"]; !ok {
				c.files["docker-compose.yml"] = db("environment: [POSTGRES_PASSWORD]")
			}
			dir := folder(t, c.files)
			out := filepath.Join(filepath.Dir(dir), "other")
			for file, text := range map[string]string{
				"compose.yml": db("environment: {POSTGRES_PASSWORD: s3kret}"), "db.env": "POSTGRES_PASSWORD=s3kret\n", ".env": "POSTGRES_PASSWORD=s3kret\n", "password": "s3kret\n", "x.yml": db("environment: {POSTGRES_PASSWORD: s3kret}"),
			} {
				write(t, filepath.Join(out, file), text)
			}
			for at, target := range c.links {
				link(t, target, filepath.Join(dir, at))
			}
			p := find(t, dir, supabase.Options{})
			url, err := p.Server.URL(t.Context())
			said := strings.Join(p.Problems(), "\n")
			if err == nil || strings.Contains(url+said+err.Error(), "s3kret") {
				t.Errorf("got %q, %v; %s", url, err, said)
			}
			if !strings.Contains(said, "allowed_paths") || !strings.Contains(said, out) {
				t.Errorf("said %s", said)
			}
			if url, err := find(t, dir, supabase.Options{AllowedPaths: []string{"../other"}}).Server.URL(t.Context()); err != nil || !strings.Contains(url, ":s3kret@") {
				t.Errorf("allowed: got %q, %v", url, err)
			}
		})
	}
}

// TestNoFolderOutsideIsAPart unless the operator says so. Each case would have read any
// file of the machine, and a restore would have written it.
func TestNoFolderOutsideIsAPart(t *testing.T) {
	disk := t.TempDir()
	for name, c := range map[string]struct {
		compose string
		links   map[string]string
	}{
		"an absolute folder":         {compose: storageAt(disk)},
		"a folder above":             {compose: storageAt("../../../../../../.." + disk)},
		"a link":                     {compose: storageAt("./volumes/storage"), links: map[string]string{"volumes/storage": disk}},
		"a folder behind a link":     {compose: storageAt("./big/deep"), links: map[string]string{"big": disk}},
		"a volume that is bound":     {compose: storageAt("data") + "volumes: {data: {driver_opts: {type: none, o: bind, device: " + disk + "}}}\n"},
		"a mount above the folder":   {compose: "services: {storage: {image: supabase/storage-api, volumes: [\"" + filepath.Dir(disk) + ":/var/lib\"], environment: {STORAGE_FILE_BACKEND_PATH: /var/lib/" + filepath.Base(disk) + "}}}\n"},
		"the usual folder as a link": {compose: "services: {db: {image: supabase/postgres}}\n", links: map[string]string{"volumes/storage": disk}},
		"a volume that is a link":    {compose: storageAt("data") + "volumes: {data: {name: linked}}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, filepath.Join(disk, "deep/x"), "x")
			dir, volumes := folder(t, map[string]string{"docker-compose.yml": c.compose}), t.TempDir()
			for at, target := range c.links {
				link(t, target, filepath.Join(dir, at))
			}
			link(t, disk, filepath.Join(volumes, "linked/_data"))
			got := describe(find(t, dir, supabase.Options{VolumeRoot: volumes}), dir)
			if !strings.Contains(got, "no storage: ") || !strings.Contains(got, "storage.path") || !strings.Contains(got, "DIR") || strings.Contains(got, "storage "+disk) {
				t.Errorf("got %s", got)
			}
			if name == "a volume that is a link" {
				return // whose root is docker's own
			}
			if got := describe(find(t, dir, supabase.Options{AllowedPaths: []string{disk}}), dir); strings.Contains(got, "no storage: ") {
				t.Errorf("allowed: got %s", got)
			}
		})
	}
}

// TestNoMountOfFunctionsLeadsOutside whichever way the compose files name it.
func TestNoMountOfFunctionsLeadsOutside(t *testing.T) {
	disk := t.TempDir()
	write(t, filepath.Join(disk, "hello/index.ts"), "x")
	const runtime = "functions: {image: supabase/edge-runtime, volumes: [\"%s\"]}"
	for name, c := range map[string]struct {
		services string
		links    map[string]string
		said     string
	}{
		"one by one":            {services: strings.Replace(runtime, "%s", disk+"/hello:/home/deno/functions/hello", 1), said: "has its functions in " + disk + ", but " + disk + " is outside of the folder"},
		"one by one, by a link": {services: strings.Replace(runtime, "%s", "./fn/hello:/home/deno/functions/hello", 1), links: map[string]string{"fn": disk}, said: disk + " is outside of the folder"},
		"volumes_from":          {services: "functions: {image: supabase/edge-runtime, volumes_from: [files]}, files: {image: busybox, volumes: [\"" + disk + ":/home/deno/functions\"]}", said: disk + " is outside of the folder"},
		"the main service":      {services: "functions: {image: supabase/edge-runtime, command: [start, --main-service, /app/main], volumes: [\"" + disk + ":/app\"]}", said: disk + " is outside of the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"docker-compose.yml": "services: {db: {image: supabase/postgres}, " + c.services + "}\n"})
			for at, target := range c.links {
				link(t, target, filepath.Join(dir, at))
			}
			got := describe(find(t, dir, supabase.Options{}), dir)
			if !strings.Contains(got, "no functions: ") || !strings.Contains(got, c.said) || !strings.Contains(got, "functions.path") || !strings.Contains(got, "allowed_paths") {
				t.Errorf("got %s", got)
			}
			if got := describe(find(t, dir, supabase.Options{AllowedPaths: []string{disk}}), dir); strings.Contains(got, "no functions: ") {
				t.Errorf("allowed: got %s", got)
			}
		})
	}
}

// TestASubpathOfAVolumeStaysInIt as in docker.
func TestASubpathOfAVolumeStaysInIt(t *testing.T) {
	for subpath, want := range map[string]string{"files": "storage VOLUMES/vv/_data/files", "../../ww/_data": "no storage: ", "link": "no storage: "} {
		volumes := t.TempDir()
		for _, name := range []string{"vv/_data/files/x", "ww/_data/x"} {
			write(t, filepath.Join(volumes, name), "x")
		}
		link(t, "../../ww/_data", filepath.Join(volumes, "vv/_data/link"))
		dir := folder(t, map[string]string{"docker-compose.yml": "services: {storage: {image: supabase/storage-api, volumes: [{type: volume, source: v, target: /var/lib/storage, volume: {subpath: " + subpath + "}}]}}\nvolumes: {v: {name: vv}}\n"})
		got := strings.ReplaceAll(describe(find(t, dir, supabase.Options{VolumeRoot: volumes}), dir), volumes, "VOLUMES")
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %s", subpath, got)
		}
	}
}

// TestAFolderThatBecomesALinkIsNotFollowed when it was found before.
func TestAFolderThatBecomesALinkIsNotFollowed(t *testing.T) {
	dir, disk := folder(t, nil), t.TempDir()
	write(t, filepath.Join(disk, "secret"), "s3kret")
	for _, o := range []supabase.Options{
		{}, {Storage: supabase.Storage{Path: filepath.Join(dir, "volumes/storage")}, Functions: supabase.Functions{Path: filepath.Join(dir, "volumes/functions")}},
	} {
		p := find(t, dir, o)
		for _, name := range []string{"volumes/storage", "volumes/functions"} {
			link(t, disk, filepath.Join(dir, name))
		}
		for _, part := range p.Parts[1:3] {
			m, err := project.Measure(t.Context(), part)
			if err == nil || m.Files > 0 || !strings.Contains(err.Error(), "leads out of the folder of the project") {
				t.Errorf("%s: %d files, %v", part.Name(), m.Files, err)
			}
		}
		for _, name := range []string{"volumes/storage", "volumes/functions"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name, "main/index.ts"), "x")
		}
	}
}

// TestTheRootKeyIsNowhereElse than where the database keeps it: who writes to its folder,
// or to the volume, would choose a file that is read and replaced.
func TestTheRootKeyIsNowhereElse(t *testing.T) {
	out, volumes := t.TempDir(), t.TempDir()
	write(t, filepath.Join(out, "pgsodium_root.key"), "s3kret")
	write(t, filepath.Join(out, "shadow"), "s3kret")
	compose := func(source string) string {
		return "services: {db: {image: supabase/postgres, volumes: [\"" + source + ":/etc/postgresql-custom\"]}}\nvolumes: {keys: }\n"
	}
	for name, c := range map[string]struct {
		compose, env string
		links        map[string]string // below the folder
		in           map[string]string // below the volumes
	}{
		"a bound folder":             {compose: compose(out)},
		"a folder that is a link":    {compose: compose("./keys"), links: map[string]string{"keys": out}},
		"a key that is a link":       {compose: compose("./keys"), links: map[string]string{"keys/pgsodium_root.key": out + "/shadow"}},
		"the name of the project":    {compose: compose("keys"), env: "COMPOSE_PROJECT_NAME=../../../.." + out + "/x\n"},
		"a volume that is a link":    {compose: compose("keys"), in: map[string]string{"my-project_keys/_data": out}},
		"a link in a volume":         {compose: compose("keys"), in: map[string]string{"my-project_keys/_data/pgsodium_root.key": out + "/shadow"}},
		"a link to another volume":   {compose: compose("keys"), in: map[string]string{"my-project_keys/_data/pgsodium_root.key": "../../other/_data/pgsodium_root.key"}},
		"a volume bound to a folder": {compose: strings.Replace(compose("keys"), "{keys: }", "{keys: {driver_opts: {o: bind, device: "+out+"}}}", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(volumes, "my-project_keys")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(volumes, "other/_data/pgsodium_root.key"), "s3kret")
			files := map[string]string{"docker-compose.yml": c.compose}
			if c.env != "" {
				files[".env"] = c.env
			}
			dir := folder(t, files)
			for at, target := range c.links {
				link(t, target, filepath.Join(dir, at))
			}
			for at, target := range c.in {
				link(t, target, filepath.Join(volumes, at))
			}
			part, ok := find(t, dir, supabase.Options{VolumeRoot: volumes}).Parts[0].(*project.DatabasePart)
			if !ok {
				return // compose does not accept the files
			}
			if key := part.RootKey(t.Context()); key.Path != "" {
				t.Errorf("found %+v", key)
			}
		})
	}
}

// TestAVolumeOfAnotherFolderIsNotTaken although its name is given.
func TestAVolumeOfAnotherFolderIsNotTaken(t *testing.T) {
	dir, volumes := folder(t, map[string]string{"docker-compose.yml": storageAt("data") + "volumes: {data: {external: true, name: theirs}}\n"}), t.TempDir()
	write(t, filepath.Join(volumes, "theirs/_data/x"), "x")
	for users, want := range map[string]string{"/srv/other": "belong to the folder /srv/other", "/srv/other\n" + dir: "storage " + volumes + "/theirs/_data", "": "storage " + volumes + "/theirs/_data"} {
		script := `case "$1 $*" in "ps "*volume=theirs*) printf '%s\n' '` + users + `'; exit;; esac; ` + noDocker
		if got := describe(find(t, dir, supabase.Options{VolumeRoot: volumes, Docker: docker(t, script)}), dir); !strings.Contains(got, want) {
			t.Errorf("%q: got %s", users, got)
		}
	}
}

// TestAPipeIsNotWaitedFor where a file should be.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	for _, name := range []string{".env", "db.env", "docker-compose.override.yml"} {
		dir := folder(t, map[string]string{"docker-compose.yml": db("env_file: [db.env]"), ".env": "A=1\n", "db.env": "A=1\n", "docker-compose.override.yml": "services: {}\n"})
		pipe := filepath.Join(dir, name)
		if err := os.Remove(pipe); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := find(t, dir, supabase.Options{}).Server.URL(t.Context())
		if err == nil {
			t.Errorf("%s: a pipe was read", name)
		}
	}
}

// TestNamesAreNoOptionsOfDocker nor anything else that it does not allow.
func TestNamesAreNoOptionsOfDocker(t *testing.T) {
	script := `case " $* " in *" -x"*|*" --"*evil*) touch "$0.evil";; esac; ` + noDocker
	for _, name := range []string{"--format=evil", "-x", "a/evil", "a evil"} {
		cmd := docker(t, script)
		dir := folder(t, map[string]string{"docker-compose.yml": "services: {db: {image: supabase/postgres, container_name: \"" + name + "\"}}\n"})
		if url, err := find(t, dir, supabase.Options{Docker: cmd}).Server.URL(t.Context()); err == nil {
			t.Errorf("%s: got %s", name, url)
		}
		if _, err := os.Stat(cmd + ".evil"); err == nil {
			t.Errorf("%s: docker was given an option", name)
		}
	}
}
