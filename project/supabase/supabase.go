// Package supabase finds the parts of a self-hosted Supabase project in the
// folder that Supabase's installer makes: docker-compose.yml, .env and volumes/.
// It reads the old layout (PostgreSQL 15, Kong) and the new one (PostgreSQL 17,
// Envoy), and assumes of neither what the files do not say.
package supabase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"github.com/holdfast-dev/holdfast/project"
)

// Options change what is found.
type Options struct {
	DatabaseURL string        // instead of looking for the database
	Tools       string        // folder of pg_dump; empty: the usual places
	LockTimeout time.Duration // see [project.DatabasePart]
	Docker      string        // the docker command; default "docker"
}

// Found is a project's folder that was recognized.
type Found struct {
	dir     string
	options Options
	env     map[string]string
	compose compose
}

// configExclude is what a configuration backup leaves out: what other parts hold,
// the database's own files, and what can be made anew.
var configExclude = []string{
	"volumes/db/data", "volumes/db/data.*", "volumes/storage", "volumes/functions", "volumes/logs/*.log", "backups", "**/.git", "**/node_modules", "volumes/deno-cache",
}

// Find reads the folder. Its error says all that is wrong with it.
func Find(dir string, o Options) (*Found, error) {
	if o.Docker == "" {
		o.Docker = "docker"
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &Found{dir: abs, options: o}
	if err := f.read(); err != nil {
		return nil, err
	}
	if backend := f.setting("STORAGE_BACKEND"); backend != "" && backend != "file" {
		return nil, fmt.Errorf("%s: the storage service keeps its files on %q; a storage backend on S3 cannot be backed up yet. Name the other parts one by one instead of `supabase:`", abs, backend)
	}
	return f, nil
}

func (f *Found) read() error {
	if fi, err := os.Stat(f.dir); err != nil || !fi.IsDir() {
		return fmt.Errorf("%s is not a folder that can be read; `supabase:` is the folder with docker-compose.yml and .env", f.dir)
	}
	var wrong []error
	var err error
	if f.env, err = readEnv(filepath.Join(f.dir, ".env")); err != nil {
		wrong = append(wrong, err)
	}
	if f.compose, err = readCompose(f.dir, f.env); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

func readEnv(name string) (map[string]string, error) {
	env, err := godotenv.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing; it holds the password of the database", name)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read as a list of NAME=value lines", name) // the error would quote secrets
	}
	return env, nil
}

// setting returns a variable of the storage service: what its compose file sets,
// else what .env says.
func (f *Found) setting(name string) string {
	if v, ok := f.compose.environment("storage", name); ok {
		return v
	}
	return f.env[name]
}

// Project returns the parts that are there.
func (f *Found) Project() project.Project {
	p := project.Project{
		Server: &project.Server{URL: f.databaseURL, Tools: f.options.Tools},
		Parts:  []project.Part{&project.DatabasePart{LockTimeout: f.options.LockTimeout, RootKey: f.rootKey}},
	}
	if dir := filepath.Join(f.dir, "volumes/storage"); isDir(dir) {
		p.Parts = append(p.Parts, &project.StoragePart{Path: dir, Tenant: f.tenant()})
	}
	if dir := filepath.Join(f.dir, "volumes/functions"); isDir(dir) {
		p.Parts = append(p.Parts, &project.FunctionsPart{Path: dir, Env: f.functionEnv})
	}
	p.Parts = append(p.Parts, &project.ConfigPart{Root: f.dir, Include: []string{"**"}, Exclude: configExclude})
	return p
}

// functionEnv returns the names of the variables that .env, the compose files and
// their env_file give to the functions, as the files are now.
func (f *Found) functionEnv() (map[string]bool, error) {
	now := &Found{dir: f.dir, options: f.options}
	if err := now.read(); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	note := func(env map[string]string) {
		for name := range env {
			names[name] = true
		}
	}
	note(now.env)
	inline, _ := now.compose.services["functions"].Environment.(map[string]string)
	note(inline)
	for _, file := range now.compose.envFiles("functions") {
		if !filepath.IsAbs(file) {
			file = filepath.Join(f.dir, file)
		}
		env, err := godotenv.Read(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // without it they have none of its variables
			return nil, err
		}
		note(env)
	}
	return names, nil
}

// tenant returns the folder of the project's objects below the storage root.
func (f *Found) tenant() string {
	bucket, tenant := f.setting("GLOBAL_S3_BUCKET"), f.setting("TENANT_ID")
	if tenant == "" {
		tenant = f.env["STORAGE_TENANT_ID"]
	}
	if bucket == "" {
		bucket = "stub"
	}
	if tenant == "" {
		tenant = "stub"
	}
	return bucket + "/" + tenant
}

func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// rootKey returns where the key of the vault lies on this machine, or "".
func (f *Found) rootKey(ctx context.Context) string {
	volume := f.compose.projectName(f.dir, f.env) + "_db-config"
	candidates := []string{"/var/lib/docker/volumes/" + volume + "/_data"}
	if out, err := f.docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", volume); err == nil {
		candidates = append([]string{strings.TrimSpace(out)}, candidates...)
	}
	for _, c := range candidates {
		key := filepath.Join(c, "pgsodium_root.key")
		if _, err := os.Stat(key); err == nil {
			return key
		}
	}
	return ""
}
