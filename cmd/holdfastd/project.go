package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

// resolverOf returns what finds the parts of a project. What the configuration names
// takes the place of what is found in the folder of `supabase:`.
func resolverOf(p config.Project, lockTimeout time.Duration) project.Resolver {
	find := findOf(p, lockTimeout)
	return func(ctx context.Context) project.Project {
		found := find(ctx)
		if problem := checkTools(p.Database.Tools); problem != "" && found.Server != nil {
			found.Faults = append(slices.Clip(found.Faults), problem)
		}
		return found
	}
}

// checkTools says that a folder of the configuration does not hold PostgreSQL's client
// tools, or nothing.
func checkTools(dir string) string {
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		if dir == "" {
			break // they are looked for in the usual places
		}
		fi, err := os.Stat(filepath.Join(dir, tool))
		if err != nil || fi.IsDir() || fi.Mode()&0o111 == 0 {
			return fmt.Sprintf("database.tools must be the folder of PostgreSQL's client tools, but there is no %s in %s that can be run.", tool, dir)
		}
	}
	return ""
}

func findOf(p config.Project, lockTimeout time.Duration) project.Resolver {
	if p.Supabase == "" {
		return project.Fixed(namedProject(p, lockTimeout))
	}
	o := supabase.Options{
		DatabaseURL: string(p.Database.URL), Tools: p.Database.Tools, LockTimeout: lockTimeout, EnvFile: p.EnvFile, AllowedPaths: p.AllowedPaths, RootKey: p.Database.RootKey, Config: configPart(p.Config),
		Storage:   supabase.Storage{None: p.Storage.None, Path: p.Storage.Path, Tenant: p.Storage.Tenant},
		Functions: supabase.Functions{None: p.Functions.None, Path: p.Functions.Path},
	}
	return func(ctx context.Context) project.Project {
		return supabase.Find(ctx, p.Supabase, o)
	}
}

// namedProject returns a project whose parts are named one by one.
func namedProject(p config.Project, lockTimeout time.Duration) project.Project {
	out := project.Project{Origins: map[string]string{}}
	if p.Database.URL != "" {
		db := &project.DatabasePart{LockTimeout: lockTimeout}
		if key := p.Database.RootKey; key != "" {
			db.RootKey = func(context.Context) project.Place { return project.Place{Path: key} }
		}
		out.Server = &project.Server{URL: func(context.Context) (string, error) { return string(p.Database.URL), nil }, Tools: p.Database.Tools}
		out.Parts, out.Origins[project.Database] = append(out.Parts, db), "database.url"
	}
	if p.Storage.Path != "" {
		out.Parts = append(out.Parts, &project.StoragePart{Path: p.Storage.Path, Tenant: p.Storage.Tenant})
		out.Origins[project.Storage] = "storage.path"
	} else {
		out.Absent = append(out.Absent, project.Absence{Part: project.Storage, Chosen: p.Storage.None})
	}
	if p.Functions.Path != "" {
		out.Parts = append(out.Parts, &project.FunctionsPart{Path: p.Functions.Path})
		out.Origins[project.Functions] = "functions.path"
	}
	if p.Config.Root != "" {
		files := configPart(p.Config)
		out.Parts = append(out.Parts, &files)
		out.Origins[project.Config] = "config.root"
	}
	return out
}

func configPart(c config.ConfigFiles) project.ConfigPart {
	return project.ConfigPart{Root: c.Root, Include: c.Include, Exclude: c.Exclude, MaxFile: int64(c.MaxFile)}
}
