package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeLayout writes the folder that Supabase's installer makes, without the
// database's files and the storage objects.
func writeLayout(dir string, c SupabaseConfig, dbPort int) error {
	env := fmt.Sprintf(`POSTGRES_PASSWORD=%s
POSTGRES_HOST=db
POSTGRES_DB=postgres
POSTGRES_PORT=5432
JWT_SECRET="fixture-jwt-secret-with-at-least-32-characters"
GLOBAL_S3_BUCKET=stub
STORAGE_TENANT_ID=stub
SMTP_PASS='is "quoted"'
`, quoteEnv(c.Password))
	files := map[string]string{
		"docker-compose.yml":          compose(c, dbPort),
		"docker-compose.override.yml": "services: {}\n",
		".env":                        env,
		".env.functions":              "STRIPE_KEY=sk_fixture\n",
		"volumes/db/roles.sql":        "-- first start only\n",
		"volumes/db/data/PG_VERSION":  fmt.Sprintln(c.Major),
		"volumes/snippets/a.sql":      "select 1;\n",
		"volumes/logs/vector.yml":     "api: {}\n",
		"volumes/functions/main/index.ts": `import { route } from "../_shared/route.ts";
Deno.serve((r: Request) => route(r));
`,
		"volumes/functions/_shared/route.ts":    "export const route = (r: Request) => new Response(new URL(r.url).pathname);\n",
		"volumes/functions/hello/index.ts":      "import { route } from \"../_shared/route.ts\";\nimport { z } from \"zod\";\nDeno.serve(route);\n",
		"volumes/functions/hello/deno.json":     `{"imports":{"zod":"npm:zod@3"}}` + "\n",
		"volumes/functions/notify/index.ts":     "Deno.serve(() => new Response(Deno.env.get(\"STRIPE_KEY\") ? \"ok\" : \"no\"));\n",
		"volumes/functions/notify/static/a.txt": strings.Repeat("static\n", 100),
	}
	if c.Major >= 17 {
		files[".supabase-version"] = "ref=self-hosted/v0.7.0\n"
		files["volumes/api/envoy/envoy.yaml"] = "static_resources: {}\n"
	} else {
		files["volumes/api/kong.yml"] = "_format_version: '2.1'\n"
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(dir, "run.sh"), "#!/bin/sh\ndocker compose up -d\n", 0o755); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, ".env"), 0o600); err != nil {
		return err
	}
	if err := os.Symlink("docker-compose.yml", filepath.Join(dir, "compose.link.yml")); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(dir, "volumes/storage"), 0o755)
}

// quoteEnv quotes a value for .env files.
func quoteEnv(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(value) + `"`
}

// compose returns a compose file with what a backup looks at. Old releases
// publish the pooler only; here db has a port as well, as many operators add.
func compose(c SupabaseConfig, dbPort int) string {
	gateway, image := "kong", "supabase/postgres:15.8.1.085"
	if c.Major >= 17 {
		gateway, image = "api-gw", "supabase/postgres:17.6.1.054"
	}
	return fmt.Sprintf(`name: %s
services:
  %s: {image: gateway}
  functions:
    volumes: ["./volumes/functions:/home/deno/functions:Z"]
    env_file: [.env.functions]
  storage:
    environment:
      STORAGE_BACKEND: file
      FILE_STORAGE_BACKEND_PATH: /var/lib/storage
      GLOBAL_S3_BUCKET: ${GLOBAL_S3_BUCKET:-stub}
      TENANT_ID: ${STORAGE_TENANT_ID:-stub}
    volumes: ["./volumes/storage:/var/lib/storage:z"]
  db:
    container_name: %s-db
    image: %s
    ports: ["127.0.0.1:%d:5432"]
    environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD}"}
    volumes:
      - ./volumes/db/data:/var/lib/postgresql/data:Z
      - db-config:/etc/postgresql-custom
  supavisor:
    ports: ["5432:5432", "6543:6543"]
volumes:
  db-config:
`, c.Name, gateway, c.Name, image, dbPort)
}

func writeFile(name, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(name, mode) // whatever the umask says
}
