package worker

import (
	"context"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/project"
)

// passwords says with which password the services log in to the database before and
// after a restore. It lies with the location of the project, for this user only.
type passwords struct {
	Before   []byte   // in the files that are replaced
	After    []byte   // in those that take their place
	Archived []byte   // in those of the backup
	Roles    []string // that had Before
	Own      []string // that had Archived and are none of the restore's business
}

// on returns a server whose role may have the password of before or after the restore.
func (p *passwords) on(s *project.Server) *project.Server {
	if p == nil || s == nil || string(p.Before) == string(p.After) {
		return s
	}
	return s.WithPasswords(string(p.Before), string(p.After))
}

// changePasswords gives the roles of the services the password of the files that are
// about to take their place, those roles included that the restore has made with the
// password of the backup.
func (at *attempt) changePasswords(ctx context.Context) error {
	p := at.passwords
	if p == nil || string(p.Before) == string(p.Archived) {
		return nil
	}
	if string(p.After) == string(p.Before) && !slices.Contains(at.state.Request.Parts, project.Database) {
		return nil // no role was made
	}
	return at.found.Server.ChangePasswords(ctx, []string{string(p.Before), string(p.Archived)}, string(p.After), p.Own)
}

// returnPasswords gives the roles the password back that is in the files that come back,
// also if the operator has changed it since the restore.
func (at *attempt) returnPasswords(ctx context.Context) error {
	p := at.passwords
	if p == nil || string(p.Before) == string(p.Archived) {
		return nil
	}
	from := []string{string(p.After), string(p.Archived)}
	if c := at.project.Resolve(ctx).Credentials; c != nil {
		if now, err := c.Password(ctx, ""); err == nil {
			from = append(from, now)
		}
	}
	return at.found.Server.ChangePasswords(ctx, from, string(p.Before), p.Own)
}

// provePasswords logs in as the roles of the services with the password that the files
// of the project now have.
func (at *attempt) provePasswords(ctx context.Context) error {
	p := at.passwords
	if p == nil {
		return nil
	}
	roles, err := at.found.Server.RolesWith(ctx, string(p.After))
	if err != nil {
		return err
	}
	roles = slices.DeleteFunc(roles, func(r string) bool { return slices.Contains(p.Own, r) })
	notTried, err := at.found.Server.LogIn(ctx, append(roles, p.Roles...), string(p.After))
	if len(notTried) > 0 {
		at.warned.add(archive.Warning{Part: project.Config, Code: "role_login_refused", Sentence: "The server does not let these roles log in from here for other reasons than their password, which is right: " + strings.Join(notTried, ", ") + "."})
	}
	return err
}
