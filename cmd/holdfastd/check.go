package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/project"
)

// checkProjects prints what was found of each project, and returns what is wrong.
func checkProjects(ctx context.Context, out io.Writer, c config.Config, try bool) error {
	var errs []error
	one, projects := newClaims(c, try), map[string]project.Project{}
	for _, p := range one.projects {
		found := p.resolve(ctx)
		projects[p.id] = found
		r := report{out: out, found: found}
		r.line("Project %s", p.id)
		problems := found.Problems()
		if err := r.server(ctx, try); err != nil && !strings.Contains(strings.Join(problems, " "), err.Error()) {
			problems = append(problems, err.Error())
		}
		if taken := one.taken(ctx, p.id, found); taken != "" {
			problems = append(problems, taken)
		}
		problems = append(problems, r.parts(ctx)...)
		for _, problem := range problems {
			errs = append(errs, fmt.Errorf("project %s: %s", p.id, problem))
		}
	}
	for _, o := range project.Overlaps(projects) {
		errs = append(errs, fmt.Errorf("project %s: %s", o.Project, o.Sentence))
	}
	return errors.Join(errs...)
}

// report prints what was found of a project.
type report struct {
	out   io.Writer
	found project.Project
}

func (r report) line(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r report) from(part string) string {
	if o := r.found.Origins[part]; o != "" {
		return " (from " + o + ")"
	}
	return ""
}

// server prints where the database is, and which server that is if a connection is tried.
func (r report) server(ctx context.Context, try bool) error {
	if r.found.Server == nil {
		return nil
	}
	at, err := r.found.Server.Address(ctx)
	if err != nil {
		r.line("  server     cannot be found")
		return err
	}
	more := ""
	if try {
		var id project.Identity
		var version string
		if id, version, err = r.found.Server.Identify(ctx); err == nil {
			more = fmt.Sprintf(", PostgreSQL %s, system identifier %s", version, id.System)
		}
	}
	r.line("  server     %s, database %s%s%s", at.Host, at.Database, more, r.from(project.Database))
	if try && err == nil {
		err = r.session(ctx)
	}
	return err
}

// session begins a backup's session, and looks for storage objects without files.
func (r report) session(ctx context.Context) error {
	s, err := project.Open(ctx, r.found.Server)
	if err != nil {
		return err
	}
	ws, err := r.found.CheckAbsent(ctx, s, nil, true)
	for _, w := range ws {
		r.line("  note       %s", w.Sentence)
	}
	return errors.Join(err, s.CheckTools(ctx), s.Close())
}

// parts prints where the files are, and returns why some cannot be read.
func (r report) parts(ctx context.Context) (problems []string) {
	for _, part := range r.found.Parts {
		m, err := project.Measure(ctx, part)
		more := ""
		if m.OnDisk < m.Bytes/2 {
			more = " (" + size(m.OnDisk) + " on the disk)"
		}
		if s, ok := part.(*project.StoragePart); ok {
			more += "; backend file, tenant " + s.TenantFolder()
		}
		_, missing := part.(*project.UnavailablePart)
		switch {
		case missing:
			r.line("  %-10s cannot be found", part.Name())
		case m.Path == "":
		case err != nil:
			r.line("  %-10s %s cannot be read%s", part.Name(), m.Path, r.from(part.Name()))
			problems = append(problems, fmt.Sprintf("The folder of the part %s cannot be read: %v; check %s.", part.Name(), err, r.found.Origins[part.Name()]))
		default:
			r.line("  %-10s %s: %d files, %s%s%s", part.Name(), m.Path, m.Files, size(m.Bytes), more, r.from(part.Name()))
		}
	}
	for _, a := range r.found.Absent {
		why := a.Sentence
		if a.Chosen {
			why = "The configuration says none."
		}
		if why == "" {
			why = "Nothing names it."
		}
		r.line("  %-10s not backed up. %s", a.Part, why)
	}
	for _, note := range r.found.Notes {
		r.line("  note       %s", note)
	}
	return problems
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, name := float64(n), ""
	for _, name = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f /= unit; f < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, name)
}
