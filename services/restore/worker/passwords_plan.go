package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

const passwordsCheck = "role_passwords"

// planPasswords compares the password that the configuration of the backup gives to
// the services with the one that they have, and decides which of them stays.
func (at *attempt) planPasswords(ctx context.Context) ([]project.Check, error) {
	at.passwords, at.replace = nil, nil
	c, req := at.found.Credentials, at.state.Request
	held, ok := at.source.part(project.Config)
	if c == nil || !ok || req.BackupProject != at.a.Project || !slices.Contains(req.Parts, project.Config) {
		return nil, nil
	}
	dir := at.w.configDir(at.a.ID)
	defer at.removeConfig()
	if err := project.SpoolConfig(archive.NewPartReader(at.source.plain, held), dir); err != nil {
		if err = at.source.explain(err); req.DryRun && at.source.failure() == nil {
			return nil, nil
		}
		return nil, err
	}
	before, berr := c.Password(ctx, "")
	archived, err := c.Password(ctx, dir)
	switch {
	case berr != nil && err != nil:
		return nil, nil
	case berr != nil:
		return note("Which password the services have now cannot be found, so the roles keep theirs: %v.", berr), nil
	case err != nil:
		return note("Which password the services have in the backup cannot be found, so the roles keep theirs: %v.", err), nil
	}
	p := &passwords{Before: []byte(before), After: []byte(archived), Archived: []byte(archived)}
	if before == archived {
		if p.Roles, err = at.found.Server.RolesWith(ctx, before); err == nil {
			at.passwords = p
		}
		return []project.Check{{Name: passwordsCheck}}, nil
	}
	if p.Roles, err = at.found.Server.RolesWith(ctx, before); err == nil {
		p.Own, err = at.found.Server.RolesWith(ctx, archived)
	}
	if at.w.cfg.KeepPasswords || err == nil && at.isFixed(ctx, c, p.Roles) {
		return at.keepPasswords(ctx, c, dir, p), nil
	}
	if err != nil {
		return []project.Check{{Name: passwordsCheck, Judgment: true, Problem: "The configuration of the backup has another database password than the server, and the roles cannot get it: " + project.Sentence(err) +
			" Or set restore.role_passwords: server to keep the server's."}}, nil
	}
	at.passwords = p
	return note("The configuration of the backup has another database password than the server. %s the password of the backup, so that the services can log in; to keep the server's set restore.role_passwords: server.%s",
		count(p.Roles, "No role has the server's, so none gets", "The role %s gets", "The roles %s get"), at.poolerAdvice(p)), nil
}

// poolerAdvice says what to do about Supavisor, which keeps the password of its
// database in _supabase, if that does not come from where the password comes from.
func (at *attempt) poolerAdvice(p *passwords) string {
	if slices.Contains(at.state.Request.Parts, project.Database) == (string(p.After) == string(p.Archived)) {
		return ""
	}
	return " Supavisor, if the project has it, keeps another password in the database _supabase: run DROP SCHEMA _supavisor CASCADE and CREATE SCHEMA _supavisor there, and restart the pooler, which registers anew."
}

// isFixed reports whether Holdfast itself logs in with one of the roles and a password
// that the files of the project do not decide.
func (at *attempt) isFixed(ctx context.Context, c project.Credentials, roles []string) bool {
	if !c.Fixed() {
		return false
	}
	return slices.Contains(roles, at.found.Server.Role(ctx))
}

// keepPasswords lets the files of the backup come back with the password of the server.
func (at *attempt) keepPasswords(ctx context.Context, c project.Credentials, dir string, p *passwords) []project.Check {
	changed, err := c.SetPassword(ctx, dir, string(p.Before))
	files := map[string][]byte{}
	for _, name := range changed {
		if err == nil {
			files[name], err = os.ReadFile(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return []project.Check{{Name: passwordsCheck, Problem: fmt.Sprintf("The server's password cannot be kept in the configuration of the backup: %v. Set restore.role_passwords: backup and leave the password out of database.url, or restore without config.", err)}}
	}
	p.After = p.Before
	at.passwords, at.replace = p, files
	why := "as restore.role_passwords says"
	if !at.w.cfg.KeepPasswords {
		why = "since database.url has it as well"
	}
	return note("The configuration of the backup has another database password than the server. The server's stays, %s, and %s comes back with it. %s it.%s",
		why, strings.Join(changed, ", "), count(p.Roles, "No role has", "The role %s has", "The roles %s have"), at.poolerAdvice(p))
}

func note(format string, args ...any) []project.Check {
	return []project.Check{{Name: passwordsCheck, Note: fmt.Sprintf(format, args...)}}
}

// count says something of no, one or more roles.
func count(roles []string, none, one, more string) string {
	switch len(roles) {
	case 0:
		return none
	case 1:
		return fmt.Sprintf(one, roles[0])
	}
	return fmt.Sprintf(more, strings.Join(roles, ", "))
}

// removeConfig removes what planPasswords needs for a while.
func (at *attempt) removeConfig() {
	if err := os.RemoveAll(filepath.Dir(at.w.configDir(at.a.ID))); err != nil {
		at.l.Warn("left behind", zap.Error(err))
	}
}
