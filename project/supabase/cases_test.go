package supabase_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project/supabase"
)

// databaseCase is a folder, and what must be found of its database.
type databaseCase struct {
	files     map[string]string
	container string
	want      string // of the URL, or of the error
	lenient   bool   // compose refuses the folder for what a backup does not need
}

// pieces of compose files.
const (
	dbService      = "  db: {image: \"supabase/postgres:15.8.1.085\", ports: [\"127.0.0.1:5432:5432\"]}\n"
	storageService = "  storage: {image: supabase/storage-api, environment: {DATABASE_URL: \"postgres://supabase_storage_admin:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT}/${POSTGRES_DB}\"}}\n"
	dbPort         = "services: {db: {ports: [\"127.0.0.1:%s:5432\"]}}\n"
)

var databaseCases = map[string]databaseCase{
	"!override on ports": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, "docker-compose.override.yml": "services: {db: {ports: !override [\"127.0.0.1:54322:5432\"]}}\n"},
		want:  "@127.0.0.1:54322/",
	},
	"!override on long ports": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, "docker-compose.override.yml": "services:\n  db:\n    ports: !override\n      - {target: 5432, published: 54322, host_ip: 127.0.0.1}\n"},
		want:  "@127.0.0.1:54322/",
	},
	"!reset on ports": {
		files:     map[string]string{"docker-compose.yml": "services:\n" + dbService, "docker-compose.override.yml": "services: {db: {ports: !reset []}}\n"},
		container: "my-project-db-1", want: "@172.18.0.5:5432/",
	},
	"!reset of the service": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + storageService, "docker-compose.override.yml": "services:\n  db: !reset null\n", ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=pg.example.com\nPOSTGRES_PORT=5433\nPOSTGRES_DB=app\n"},
		want:  "@pg.example.com:5433/app",
	},
	"an external database, db left in the file": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + storageService, ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=pg.example.com\nPOSTGRES_PORT=5432\nPOSTGRES_DB=postgres\n"},
		want:  "@pg.example.com:5432/",
	},
	"an external database that only .env names": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=pg.example.com\n"},
		want:  "@pg.example.com:5432/",
	},
	"an external database without db": {
		files: map[string]string{"docker-compose.yml": "services: {kong: {image: kong}}\n", ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=pg.example.com\n"},
		want:  "@pg.example.com:5432/",
	},
	"a database on the docker host": {
		files: map[string]string{"docker-compose.yml": "services:\n" + storageService, ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=host.docker.internal\nPOSTGRES_PORT=5499\n"},
		want:  "@127.0.0.1:5499/",
	},
	"the pooler outside": {
		files: map[string]string{"docker-compose.yml": "services:\n" + storageService, ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=pooler.example.com\nPOSTGRES_PORT=6543\n"},
		want:  "the pooler's port",
	},
	"compose.yaml before docker-compose.yml": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, "compose.yaml": strings.Replace(dbPort, "%s", "54322", 1)},
		want:  "@127.0.0.1:54322/",
	},
	"COMPOSE_FILE replaces the default": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, "prod.yml": strings.Replace(dbPort, "%s", "54322", 1), ".env": "POSTGRES_PASSWORD=x\nCOMPOSE_FILE=prod.yml\n"},
		want:  "@127.0.0.1:54322/",
	},
	"COMPOSE_FILE without the default": {
		files: map[string]string{"docker-compose.yml": "", "stack.yml": "services:\n" + dbService, ".env": "POSTGRES_PASSWORD=x\nCOMPOSE_FILE=stack.yml\n"},
		want:  "@127.0.0.1:5432/",
	},
	"COMPOSE_PATH_SEPARATOR": {
		files: map[string]string{"a.yml": "services:\n" + dbService, "b.yml": "services: {db: {ports: !override [\"54322:5432\"]}}\n", ".env": "POSTGRES_PASSWORD=x\nCOMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=a.yml;b.yml\n"},
		want:  "@127.0.0.1:54322/",
	},
	"a missing file of COMPOSE_FILE": {
		files: map[string]string{".env": "POSTGRES_PASSWORD=x\nCOMPOSE_FILE=docker-compose.yml:none.yml\n"}, want: "none.yml, which is not a file",
	},
	"CONFIG chooses files": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, "docker-compose.pg17.yml": "services: {db: {image: \"supabase/postgres:17\", ports: !override [\"54322:5432\"]}}\n", ".env": "POSTGRES_PASSWORD=x\nCONFIG=\"pg17\"\n"},
		want:  "@127.0.0.1:54322/",
	},
	"a missing file of CONFIG": {
		files: map[string]string{".env": "POSTGRES_PASSWORD=x\nCONFIG=\"pg17 logs\"\n"}, want: "docker-compose.pg17.yml, which is not a file",
	},
	"compose.override.yaml": {
		files: map[string]string{"docker-compose.yml": "", "compose.yaml": "services:\n" + dbService, "compose.override.yaml": "services: {db: {ports: !override [\"54322:5432\"]}}\n"},
		want:  "@127.0.0.1:54322/",
	},
	"extends a file": {
		files: map[string]string{"docker-compose.yml": "services: {db: {extends: {file: base.yml, service: db}}}\n", "base.yml": strings.Replace(dbPort, "%s", "54322", 1)},
		want:  "@127.0.0.1:54322/",
	},
	"include": {
		files: map[string]string{"docker-compose.yml": "include: [supabase/compose.yml]\n", "supabase/compose.yml": strings.Replace(dbPort, "%s", "54322", 1)},
		want:  "@127.0.0.1:54322/",
	},
	"nested defaults": {
		files: map[string]string{"docker-compose.yml": "name: ${COMPOSE_STACK:-${STACK:-supabase}}\nservices: {db: {ports: [\"127.0.0.1:${POSTGRES_HOST_PORT:-${DB_PORT:-54322}}:5432\"]}}\n"},
		want:  "@127.0.0.1:54322/",
	},
	"a required variable": {
		files: map[string]string{"docker-compose.yml": "services:\n  db:\n    ports: [\"${DB_PORT:?set it}:5432\"]\n"}, want: "docker-compose.yml:3: the variable DB_PORT is required",
	},
	"a password with dollars": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService, ".env": "POSTGRES_PASSWORD=m$ypass$wor@d\nPOSTGRES_DB=${DB_NAME:-postgres}\n"},
		want:  "//supabase_admin:m%40d@127.0.0.1:5432/postgres",
	},
	"Coolify": {
		files: map[string]string{
			"docker-compose.yml": "services:\n  supabase-db: {image: \"supabase/postgres:15\", container_name: supabase-db-abc123, ports: [\"54322:5432\"], environment: {POSTGRES_PASSWORD: \"${SERVICE_PASSWORD_POSTGRES}\"}}\n",
			".env":               "SERVICE_PASSWORD_POSTGRES=geheim\n",
		},
		want: "//supabase_admin:geheim@127.0.0.1:54322/",
	},
	"a service named after its container": {
		files:     map[string]string{"docker-compose.yml": "services:\n  supabase-db-abc123: {image: \"supabase/postgres:15\", container_name: supabase-db-abc123}\n"},
		container: "supabase-db-abc123", want: "@172.18.0.5:5432/",
	},
	"another port of the server, published": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"${POSTGRES_PORT}:${POSTGRES_PORT}\"], environment: {PGPORT: \"${POSTGRES_PORT}\", POSTGRES_PORT: \"${POSTGRES_PORT}\"}}}\n", ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_PORT=5433\n"},
		want:  "@127.0.0.1:5433/",
	},
	"another port of the server, not published": {
		files:     map[string]string{"docker-compose.yml": "services: {db: {environment: {PGPORT: \"${POSTGRES_PORT}\"}}}\n", ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_PORT=5433\n"},
		container: "my-project-db-1", want: "@172.18.0.5:5433/",
	},
	"another port on the command line": {
		files: map[string]string{"docker-compose.yml": "services: {db: {command: [postgres, -c, port=5444], ports: [\"15444:5444\", \"15432:5432\"]}}\n"}, want: "@127.0.0.1:15444/",
	},
	"published on 6543": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"6543:5432\"]}}\n"}, want: "@127.0.0.1:6543/",
	},
	"a merge key with a list": {
		files: map[string]string{"docker-compose.yml": "x-a: &a {restart: always}\nx-b: &b {environment: {A: b}}\nservices:\n  db: {<<: [*a, *b], ports: [\"54322:5432\"]}\n"}, want: "@127.0.0.1:54322/",
	},
	"a merge key that is overridden": {
		files: map[string]string{"docker-compose.yml": "x-c: &c {networks: [a]}\nservices:\n  db: {<<: *c, networks: [b], ports: [\"54322:5432\"]}\nnetworks: {a: , b: }\n"}, want: "@127.0.0.1:54322/",
	},
	"a password in the compose file": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"1:5432\"], environment: [POSTGRES_PASSWORD=inline]}}\n", ".env": ""}, want: ":inline@127.0.0.1:1/",
	},
	"a password in an env_file": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"1:5432\"], env_file: db.env}}\n", "db.env": "POSTGRES_PASSWORD=filed\n", ".env": ""}, want: ":filed@127.0.0.1:1/",
	},
	"a password in a secret": {
		files: map[string]string{
			"docker-compose.yml": "services: {db: {ports: [\"1:5432\"], secrets: [pw], environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}}}\nsecrets: {pw: {file: ./pw.txt}}\n", "pw.txt": "hidden\n", ".env": "",
		},
		want: ":hidden@127.0.0.1:1/",
	},
	"a password in a mounted file": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"1:5432\"], volumes: [\"./secrets:/s:ro\"], environment: {POSTGRES_PASSWORD_FILE: /s/pw}}}\n", "secrets/pw": "mounted\n", ".env": ""}, want: ":mounted@127.0.0.1:1/",
	},
	"a password by another variable": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"1:5432\"], environment: {POSTGRES_PASSWORD: \"${DB_SECRET}\"}}}\n", ".env": "POSTGRES_PASSWORD=old\nDB_SECRET=right\n"}, want: ":right@127.0.0.1:1/",
	},
	"stack.env of Portainer": {
		files: map[string]string{"docker-compose.yml": "services: {db: {ports: [\"${P}:5432\"], env_file: [stack.env]}}\n", "stack.env": "POSTGRES_PASSWORD=stacked\nP=54322\n", ".env": ""}, want: ":stacked@127.0.0.1:54322/",
	},
	"a byte order mark": {
		files: map[string]string{".env": "\ufeffPOSTGRES_PASSWORD=x\nP=54322\n", "docker-compose.yml": "\ufeffservices: {db: {ports: [\"${P}:5432\"]}}\n"}, want: ":x@127.0.0.1:54322/",
	},
	"a byte order mark before a comment": {
		files: map[string]string{".env": "\ufeff# secrets\nPOSTGRES_PASSWORD=x\n", "docker-compose.yml": "services:\n" + dbService}, want: ":x@127.0.0.1:5432/",
	},
	"names without values and with dashes": {
		files: map[string]string{".env": "EMPTY\nA-B=1\nPOSTGRES_PASSWORD=x\n", "docker-compose.yml": "services:\n" + dbService}, want: ":x@127.0.0.1:5432/",
	},
	"two databases": {
		files: map[string]string{"docker-compose.yml": "services: {one: {image: \"supabase/postgres:15\"}, two: {image: \"supabase/postgres:15\"}}\n"}, want: "the services one, two of",
	},
	"two databases, one of which the services use": {
		files: map[string]string{"docker-compose.yml": "services:\n  one: {image: \"supabase/postgres:15\", ports: [\"1:5432\"]}\n  two: {image: \"supabase/postgres:15\", ports: [\"2:5432\"]}\n" + storageService, ".env": "POSTGRES_PASSWORD=x\nPOSTGRES_HOST=two\nPOSTGRES_PORT=5432\nPOSTGRES_DB=app\n"},
		want:  "@127.0.0.1:2/app",
	},
	"a database in a profile that is not active": {
		files: map[string]string{"docker-compose.yml": "services: {db: {image: \"supabase/postgres:15\", profiles: [data], ports: [\"1:5432\"]}, n8n: {image: n8n}}\n"}, want: "@127.0.0.1:1/",
	},
	"a build context and a dependency that are not there": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + "  app: {build: ./nope, depends_on: [none], env_file: [none.env]}\n"}, want: "@127.0.0.1:5432/", lenient: true,
	},
	"extra hosts": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + "  storage: {image: supabase/storage-api, extra_hosts: [\"pg:192.0.2.9\"], environment: {DATABASE_URL: \"postgres://a:b@pg:5433/app\"}}\n"},
		want:  "@192.0.2.9:5433/app",
	},
	"the machine itself by extra hosts": {
		files: map[string]string{"docker-compose.yml": "services:\n  storage: {image: supabase/storage-api, extra_hosts: [\"pg:host-gateway\"], environment: {DATABASE_URL: \"postgres://a:b@pg:5433/app\"}}\n"},
		want:  "@127.0.0.1:5433/app",
	},
	"localhost in the network of the database": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + "  storage: {image: supabase/storage-api, network_mode: \"service:db\", environment: {DATABASE_URL: \"postgres://a:b@localhost:5432/app\"}}\n"},
		want:  "@127.0.0.1:5432/app",
	},
	"localhost in a container of its own": {
		files: map[string]string{"docker-compose.yml": "services:\n  db: {image: supabase/postgres, ports: [\"54322:5432\"]}\n  storage: {image: supabase/storage-api, environment: {DATABASE_URL: \"postgres://a:b@localhost:5432/app\"}}\n"},
		want:  "@127.0.0.1:54322/postgres",
	},
	"services that are given different databases": {
		files: map[string]string{"docker-compose.yml": "services:\n" + dbService + "  storage: {image: supabase/storage-api, environment: {DATABASE_URL: \"postgres://a:b@db/one\"}}\n  rest: {image: postgrest/postgrest, environment: {PGRST_DB_URI: \"postgres://a:b@db/two\"}}\n"},
		want:  "the service storage is given the database one at db, and the service rest the database two at db, but a project has one database; set database.url",
	},
	"the superuser that other images make": {
		files: map[string]string{"docker-compose.yml": "services: {db: {image: \"postgis/postgis:17\", ports: [\"1:5432\"]}}\n"}, want: "//postgres:",
	},
	"the superuser of postgres-meta": {
		files: map[string]string{"docker-compose.yml": "services:\n  db: {image: \"postgres:17\", ports: [\"1:5432\"]}\n  meta: {image: supabase/postgres-meta, environment: {PG_META_DB_HOST: db, PG_META_DB_USER: boss, PG_META_DB_PASSWORD: x}}\n"}, want: "//boss:",
	},
	"ports of the service whose network it uses": {
		files: map[string]string{"docker-compose.yml": "services:\n  db: {image: \"supabase/postgres:17\", network_mode: \"service:vpn\"}\n  vpn: {image: vpn, ports: [\"127.0.0.1:5999:5432\"]}\n"}, want: "@127.0.0.1:5999/",
	},
	"no database at all": {
		files: map[string]string{"docker-compose.yml": "services: {kong: {image: kong}}\n"}, want: "no service of",
	},
}

// TestTheServicesDatabaseIsTaken in layouts where another one is near at hand.
func TestTheServicesDatabaseIsTaken(t *testing.T) {
	for name, c := range databaseCases {
		t.Run(name, func(t *testing.T) {
			dir, script := folder(t, c.files), noDocker
			if c.container != "" {
				script = container(c.container, "172.18.0.5", of(dir))
			}
			got, err := find(t, dir, supabase.Options{Docker: docker(t, script)}).Server.URL(t.Context())
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestTheEnvFileOfTheConfigurationIsRead as compose reads the one of --env-file.
func TestTheEnvFileOfTheConfigurationIsRead(t *testing.T) {
	dir := folder(t, map[string]string{".env": "", ".env.production": "POSTGRES_PASSWORD=prod\nP=54322\n", "docker-compose.yml": "services: {db: {ports: [\"${P}:5432\"]}}\n"})
	got, err := find(t, dir, supabase.Options{EnvFile: ".env.production"}).Server.URL(t.Context())
	if err != nil || !strings.Contains(got, ":prod@127.0.0.1:54322/") {
		t.Errorf("got %q, %v", got, err)
	}
}

// problems returns what a project says to be wrong. The error of its server says the
// same.
func problems(t *testing.T, dir string) string {
	t.Helper()
	p := find(t, dir, supabase.Options{})
	all := strings.Join(p.Problems(), "\n")
	if _, err := p.Server.URL(t.Context()); err == nil || !strings.Contains(all, err.Error()) {
		t.Errorf("the server says %v, the project %s", err, all)
	}
	return all
}

// TestErrorsNameFileAndLineAndNoValue of anything that is wrong with the files.
func TestErrorsNameFileAndLineAndNoValue(t *testing.T) {
	const secret = "s3kret"
	for name, c := range map[string]struct{ file, text, want string }{
		"no YAML":             {"docker-compose.yml", "services:\n  db: {environment: {A: " + secret + ": c}}\n", "docker-compose.yml:2"},
		"a key twice":         {"docker-compose.yml", "services:\n  db: {image: x}\n  db: {image: " + secret + "}\n", "docker-compose.yml:3"},
		"an unknown key":      {"docker-compose.yml", "services:\n  db:\n    portz: [" + secret + "]\n", "docker-compose.yml:3"},
		"a wrong type":        {"docker-compose.yml", "services:\n  db:\n    ports: {a: " + secret + "}\n", "docker-compose.yml:3"},
		"a port that is none": {"docker-compose.yml", "services:\n  db:\n    ports: [\"" + secret + ":5432\"]\n", "docker-compose.yml"},
		"interpolation":       {"docker-compose.yml", "services:\n  db:\n    environment: {A: \"" + secret + "${B\"}\n", "docker-compose.yml:3"},
		"a size":              {"docker-compose.yml", "services:\n  db:\n    mem_limit: " + secret + "\n", "docker-compose.yml:3"},
		"no file to include":  {"docker-compose.yml", "services: {}\ninclude: [none.yml]\n", "docker-compose.yml:2"},
		"quotes of .env":      {".env", "A=1\nB='" + secret + "\nC=1\n", ".env:"},
		"a name of .env":      {".env", "A=1\nB " + secret + "=1\n", ".env:2"},
		"an unset variable":   {"docker-compose.yml", "services:\n  db:\n    volumes: [\"${SOCKET}:/run/x.sock\"]\n", "nobody sets these variables: SOCKET"},
		"an empty beginning":  {"docker-compose.yml", "services:\n  db:\n    environment: {A: \"$A$B$C$D$E$F\"}\n    volumes:\n      - ${SOCKET}:/run/x.sock:ro\n", "docker-compose.yml:5: the variable SOCKET has no value: compose does not accept this: invalid spec; nobody sets these variables: A, B, C, D, E, and 2 others"},
		"the project's name":  {".env", "POSTGRES_PASSWORD=" + secret + "\nCOMPOSE_PROJECT_NAME=../../x\n", "project name"},
		"an env_file":         {"db.env", "A='" + secret + "\n", "db.env:"},
	} {
		dir := folder(t, map[string]string{"docker-compose.yml": "services: {db: {env_file: db.env}}\n", c.file: c.text})
		got := problems(t, dir)
		if !strings.Contains(got, c.want) || strings.Contains(got, secret) {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
	if got := problems(t, filepath.Join(t.TempDir(), "none")); !strings.Contains(got, "is not a folder") {
		t.Errorf("got %s", got)
	}
	if got := problems(t, t.TempDir()); !strings.Contains(got, "none of compose.yaml") {
		t.Errorf("got %s", got)
	}
}
