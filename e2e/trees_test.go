package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAFolderNamesNoFilesOfOthers attacks as somebody who may write to a project's folder
// and nowhere else. Each line says what it would have meant.
func TestAFolderNamesNoFilesOfOthers(t *testing.T) {
	const db = "services:\n  db: {image: supabase/postgres, ports: [\"127.0.0.1:9:5432\"]}\n"
	for name, c := range map[string]struct {
		compose, env string
		links        map[string]string
		said         string // by config check
	}{
		"any folder is backed up and replaced as storage":    {compose: db + "  storage: {image: supabase/storage-api, volumes: [\"OUT:/var/lib/storage\"]}\n", said: "set storage.path, or storage: none, or list it in allowed_paths"},
		"any folder above is too":                            {compose: db + "  storage: {image: supabase/storage-api, volumes: [\"../out:/var/lib/storage\"]}\n", said: "set storage.path, or storage: none, or list it in allowed_paths"},
		"any folder is backed up and replaced as functions":  {compose: db + "  functions: {image: supabase/edge-runtime, volumes: [\"OUT:/home/deno/functions\"]}\n", said: "set functions.path, or functions: none, or list it in allowed_paths"},
		"any folder by a link":                               {compose: db + "  storage: {image: supabase/storage-api, volumes: [\"./files:/var/lib/storage\"]}\n", links: map[string]string{"files": "OUT"}, said: "set storage.path, or storage: none, or list it in allowed_paths"},
		"any folder by a volume that is bound":               {compose: db + "  storage: {image: supabase/storage-api, volumes: [\"data:/var/lib/storage\"]}\nvolumes: {data: {driver_opts: {type: none, o: bind, device: OUT}}}\n", said: "set storage.path, or storage: none, or list it in allowed_paths"},
		"any folder by the name of a volume":                 {compose: db + "  storage: {image: supabase/storage-api, volumes: [\"data:/var/lib/storage\"]}\nvolumes: {data: {name: ../../../../OUT}}\n", said: "is not one that docker allows"},
		"the root key of another server is read and written": {compose: strings.Replace(db, "ports:", "volumes: [\"OUT:/etc/postgresql-custom\"], ports:", 1), env: "POSTGRES_PASSWORD=x\n", said: "The root key of the vault is not backed up"},
		"the same by the name of the project":                {compose: strings.Replace(db, "ports:", "volumes: [\"keys:/etc/postgresql-custom\"], ports:", 1) + "volumes: {keys: }\n", env: "COMPOSE_PROJECT_NAME=../../../../OUT/x\n", said: "project name"},
		"another project's password is sent to my server":    {compose: "include: [OUT/compose.yml]\n", said: "is outside of the folder"},
		"the same by env_file":                               {compose: strings.Replace(db, "ports:", "env_file: OUT/secret.env, ports:", 1), said: "is outside of the folder"},
		"the same by a link":                                 {compose: db, links: map[string]string{".env": "OUT/secret.env"}, said: "is outside of the folder"},
		"the same by COMPOSE_FILE":                           {compose: db, env: "COMPOSE_FILE=OUT/compose.yml\n", said: "is outside of the folder"},
		"the same by a secret":                               {compose: strings.Replace(db, "ports:", "environment: {POSTGRES_PASSWORD_FILE: /run/secrets/p}, secrets: [p], ports:", 1) + "secrets: {p: {file: OUT/password}}\n", said: "is outside of the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, out := filepath.Join(top, "project"), filepath.Join(top, "out")
			for file, text := range map[string]string{"compose.yml": strings.Replace(db, "ports:", "environment: {POSTGRES_PASSWORD: s3kret}, ports:", 1), "secret.env": "POSTGRES_PASSWORD=s3kret\n", "password": "s3kret", "pgsodium_root.key": "s3kret"} {
				put(t, out, file, text)
			}
			for file, text := range map[string]string{"docker-compose.yml": c.compose, ".env": "X=1\n" + c.env, "volumes/storage/.keep": "", "volumes/functions/main/index.ts": ""} {
				put(t, dir, file, strings.ReplaceAll(text, "OUT", out))
			}
			for at, to := range c.links {
				at = filepath.Join(dir, at)
				_ = os.Remove(at)
				if err := os.Symlink(strings.ReplaceAll(to, "OUT", out), at); err != nil {
					t.Fatal(err)
				}
			}
			got := check(t, "{id: p, supabase: "+dir+"}")
			contains(t, got, c.said)
			if strings.Contains(got, "s3kret") {
				t.Errorf("it prints a secret: %s", got)
			}
		})
	}
}
