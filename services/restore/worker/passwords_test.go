package worker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
	"github.com/holdfast-dev/holdfast/testenv"
)

// Passwords of the lost project, of the new installation, and one that its operator
// chooses later.
const (
	lost  = testenv.ProjectPassword
	fresh = `an0ther 'pass"word$`
	later = "later"
)

// backedUp is the backup of a project whose password is lost.
type backedUp struct {
	archive  []byte
	manifest archive.Manifest
}

func backUpSupabase(t *testing.T, major int) backedUp {
	t.Helper()
	s := testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Objects: 3, Password: lost})
	if err := s.DB.Exec(t.Context(), "postgres", "CREATE ROLE own_role LOGIN PASSWORD 'own'; CREATE ROLE new_service LOGIN PASSWORD '"+strings.ReplaceAll(lost, "'", "''")+"'"); err != nil {
		t.Fatal(err)
	}
	env := filepath.Join(s.Dir, ".env")
	if err := os.WriteFile(env, []byte(text(t, env)+ofBackup), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(env, 0o640); err != nil {
		t.Fatal(err)
	}
	p := supabase.Find(t.Context(), s.Dir, supabase.Options{Tools: s.DB.Bin})
	session, err := project.Open(t.Context(), p.Server)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Header{ID: lostBackup, Project: "p", Type: backup.Full, CreatedAt: time.Now()})
	for _, part := range p.Parts {
		if err == nil {
			err = w.Begin(part.Name())
		}
		if err == nil {
			_, err = part.Dump(t.Context(), session, w)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Close()
	if err := errors.Join(err, session.Close()); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	return backedUp{out.Bytes(), m}
}

// ofBackup ends the .env of the backup.
const ofBackup = "DASHBOARD_PASSWORD = 'x' # of the backup\n"

var lostBackup = backup.NewID()

// install is a new installation into which the backup is restored.
type install struct {
	*bench
	s       *testenv.Supabase
	options supabase.Options
	wrap    func(project.Part) project.Part // nil: none
	stop    context.CancelFunc              // ends the running attempt
}

func (b backedUp) into(t *testing.T, major int, change ...func(*worker.Config)) *install {
	t.Helper()
	i := &install{s: testenv.NewSupabase(t, testenv.SupabaseConfig{Major: major, Fresh: true, Password: fresh})}
	if err := i.s.DB.Exec(t.Context(), "postgres", "CREATE ROLE own_role LOGIN PASSWORD 'other'; CREATE ROLE same_by_chance LOGIN PASSWORD '"+strings.ReplaceAll(lost, "'", "''")+"'"); err != nil {
		t.Fatal(err)
	}
	i.options.Tools = i.s.DB.Bin
	i.bench = newBench(t, append([]func(*worker.Config){func(c *worker.Config) {
		c.Projects[0].Resolve = func(ctx context.Context) project.Project {
			p := supabase.Find(ctx, i.s.Dir, i.options)
			for n := range p.Parts {
				if i.wrap != nil {
					p.Parts[n] = i.wrap(p.Parts[n])
				}
			}
			return p
		}
	}}, change...)...)
	sum := sha256.Sum256(b.archive)
	completed := events.BackupCompleted{Attempt: 1, Pool: "default", Key: "k", Size: int64(len(b.archive)), SHA256: hex.EncodeToString(sum[:]), ManifestSHA256: b.manifest.SHA256}
	for _, x := range b.manifest.Parts {
		completed.Parts = append(completed.Parts, events.Part{Name: x.Name, Bytes: x.Bytes, Entries: x.Entries})
	}
	last := events.Revision(0)
	for _, e := range []events.Event{events.BackupRequested{Pool: "default", Type: backup.Full, Destination: "local"}, events.BackupStarted{Attempt: 1, Worker: "w"}, completed} {
		env, err := i.log.Append(t.Context(), events.BackupAggregate("p", lostBackup), last, e, events.Cause{})
		if err != nil {
			t.Fatal(err)
		}
		last = env.Revision
	}
	i.archive = b.archive
	i.create.Backup, i.create.Force = lostBackup, true
	i.create.Parts = []string{project.Database, project.Storage, project.Functions, project.Config}
	return i
}

// restore restores, and goes on as long as it is cut off.
func (i *install) restore() restore.State {
	i.t.Helper()
	env := i.request()
	for range 3 {
		ctx, cancel := context.WithCancel(i.t.Context())
		i.stop = cancel
		err := i.w.Handle(ctx, env)
		cancel()
		if err == nil {
			return i.state()
		}
		if !errors.Is(err, context.Canceled) {
			i.t.Fatal(err)
		}
	}
	i.t.Fatal("the restore does not end")
	return restore.State{}
}

func (i *install) undo() {
	i.t.Helper()
	if err := i.w.Undo(i.t.Context(), &restore.Undo{ID: i.a.ID, Project: "p", Pool: "default"}, events.Cause{}); err != nil {
		i.t.Fatal(err)
	}
	if s := i.state(); !s.Undone {
		i.t.Errorf("not undone: %+v", s.NotUndone)
	}
}

// reach lets the restored compose file lead to the server of the installation: that of
// a test has another port each time.
func (i *install) reach() {
	i.t.Helper()
	name := filepath.Join(i.s.Dir, "docker-compose.yml")
	compose := regexp.MustCompile(`127\.0\.0\.1:\d+:5432`).ReplaceAllString(text(i.t, name), fmt.Sprintf("127.0.0.1:%d:5432", i.s.DB.Port))
	if err := os.WriteFile(name, []byte(compose), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

// serves says which password the roles of the services have, and that it is the one of
// the project's files; roles with passwords of their own keep them.
func (i *install) serves(when, password string) {
	i.t.Helper()
	files, err := supabase.Find(i.t.Context(), i.s.Dir, i.options).Credentials.Password(i.t.Context(), "")
	if err != nil || files != password {
		i.t.Errorf("%s: the files give %q, %v", when, files, err)
	}
	for _, role := range testenv.ServiceRoles {
		i.logsIn(when, role, password)
	}
	i.logsIn(when, "own_role", "other")
	i.logsIn(when, "same_by_chance", lost)
}

func (i *install) logsIn(when, role, password string) {
	i.t.Helper()
	conn, err := pgx.Connect(i.t.Context(), i.s.DB.URLAs(role, password, "postgres"))
	if err != nil {
		i.t.Errorf("%s: %s cannot log in: %v", when, role, err)
		return
	}
	_ = conn.Close(i.t.Context())
}

// quiet says that no password lies where none should.
func (i *install) quiet() {
	i.t.Helper()
	said := fmt.Sprintf("%+v", i.state())
	for env := range i.log.Read(i.t.Context(), i.a, 0) {
		said += fmt.Sprintf("%+v", env.Event)
	}
	b, err := os.ReadFile(i.w.WarningsFile(i.a.ID))
	if err != nil {
		i.t.Error(err)
	}
	said += string(b) + i.s.DB.Log()
	for _, secret := range []string{lost, fresh, "it's p@ss", "an0ther"} {
		if strings.Contains(said, secret) {
			i.t.Errorf("a password is in %s", said)
		}
	}
	dir := filepath.Dir(i.w.WarningsFile(i.a.ID))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		i.t.Error(err)
	}
	for _, name := range left {
		fi, err := os.Stat(name)
		if err != nil || strings.HasSuffix(name, ".config") || !fi.IsDir() && fi.Mode().Perm() != 0o600 {
			i.t.Errorf("left behind: %s, %v", name, err)
		}
	}
}

func (i *install) warnings() string {
	var out []string
	if c := i.state().Completed; c != nil {
		for _, w := range c.Warnings {
			out = append(out, w.Sentence)
		}
	}
	return strings.Join(out, "\n")
}

// TestThePasswordsInEnvWork after a restore into a new installation, and those that it
// had work after the undo.
func TestThePasswordsInEnvWork(t *testing.T) {
	for _, major := range []int{15, 17} {
		b := backUpSupabase(t, major)
		all := []string{project.Database, project.Storage, project.Functions, project.Config}
		for name, c := range map[string]struct {
			parts []string
			keep  bool
			want  string
			said  string

			pooler bool // keeps another password
			url    bool // database.url names the role with the password
		}{
			"all, of the backup":          {all, false, lost, "The roles authenticator, pgbouncer, postgres, supabase_admin,", false, false},
			"all, of the server":          {all, true, fresh, "The server's stays, as restore.role_passwords says, and .env comes back with it. The roles authenticator,", true, false},
			"config, of the backup":       {[]string{project.Config}, false, lost, "get the password of the backup", true, false},
			"config, of the server":       {[]string{project.Config}, true, fresh, "The server's stays", false, false},
			"all, with database.url":      {all, false, fresh, "The server's stays, since database.url has it as well", true, true},
			"the database, of the backup": {[]string{project.Database}, false, fresh, "", false, false},
		} {
			t.Run(fmt.Sprint(major, " ", name), func(t *testing.T) {
				t.Parallel()
				i := b.into(t, major, func(c2 *worker.Config) { c2.KeepPasswords = c.keep })
				env := text(t, filepath.Join(i.s.Dir, ".env"))
				i.create.Parts = c.parts
				if c.url {
					i.options.DatabaseURL = i.s.DB.URL("postgres")
				}
				if s := i.restore(); s.Completed == nil {
					t.Fatalf("state %+v", s.Failed)
				}
				i.serves("after the restore", c.want)
				i.quiet()
				if said := i.warnings(); !strings.Contains(said, c.said) || c.said == "" && strings.Contains(said, "password") {
					t.Errorf("warnings: %s", said)
				}
				if advised := strings.Contains(i.warnings(), "DROP SCHEMA _supavisor"); advised != c.pooler {
					t.Errorf("advice about the pooler: %t", advised)
				}
				if slices.Contains(c.parts, project.Database) && slices.Contains(c.parts, project.Config) {
					i.logsIn("made by the restore", "new_service", c.want)
				}
				if slices.Contains(c.parts, project.Config) {
					i.envIs(env, c.keep || c.url)
				}
				i.undo()
				i.serves("after the undo", fresh)
				if now := text(t, filepath.Join(i.s.Dir, ".env")); now != env {
					t.Errorf(".env has changed: %s", now)
				}
			})
		}
	}
}

// envIs says that the .env of the backup is there: whole, but for the password if the
// server's is kept.
func (i *install) envIs(own string, keep bool) {
	i.t.Helper()
	name := filepath.Join(i.s.Dir, ".env")
	got := text(i.t, name)
	if rest, ok := strings.CutSuffix(got, ofBackup); !ok || keep && rest != own || !keep && rest == own {
		i.t.Errorf(".env is %s", got)
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o640 {
		i.t.Errorf("%v, %v", fi, err)
	}
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// afterSwap does something after the swap of a part.
type afterSwap struct {
	project.Part
	do func() error
}

func (a afterSwap) Restoration(t project.Target) project.Restoration {
	return swapped{a.Part.Restoration(t), a.do}
}

type swapped struct {
	project.Restoration
	do func() error
}

func (s swapped) Swap(ctx context.Context) error {
	if err := s.Restoration.Swap(ctx); err != nil {
		return err
	}
	return s.do()
}

// TestARestoreWithAnotherPasswordIsCutOff after each step of the swap. Another process
// goes on.
func TestARestoreWithAnotherPasswordIsCutOff(t *testing.T) {
	b := backUpSupabase(t, 15)
	for _, c := range []struct {
		keep  bool
		steps int
	}{{false, 1}, {false, 3}, {false, 4}, {false, 5}, {true, 4}} {
		t.Run(fmt.Sprintf("%t %d", c.keep, c.steps), func(t *testing.T) {
			t.Parallel()
			i := b.into(t, 15, func(c2 *worker.Config) { c2.KeepPasswords = c.keep })
			i.seen = func(e events.Event) {
				if x, ok := e.(events.RestoreStageCompleted); ok && x.Stage == restore.Ready {
					i.stop()
					i.swap(c.steps, c.keep)
				}
			}
			s := i.restore()
			if s.Completed == nil || s.Attempt != 2 {
				t.Fatalf("state %+v, %+v", s, s.Failed)
			}
			want := lost
			if c.keep {
				want = fresh
			}
			i.serves("in the end", want)
			i.logsIn("made by the restore", "new_service", want)
			i.undo()
			i.serves("after the undo", fresh)
			i.quiet()
		})
	}
}

// swap does the first steps of the swap, as the attempt does that is about to be cut
// off: the database, the files, the passwords, the configuration.
func (i *install) swap(steps int, keep bool) {
	i.t.Helper()
	p := supabase.Find(i.t.Context(), i.s.Dir, i.options)
	s := i.state()
	to := project.Target{
		ID: events.ShortID(i.a.ID), At: s.Created, Server: p.Server.WithPasswords(lost), Force: true,
		Scratch: filepath.Join(filepath.Dir(i.w.WarningsFile(i.a.ID)), i.a.ID), Warn: func(archive.Warning) {},
	}
	var todo []func() error
	for _, part := range p.Parts {
		todo = append(todo, func() error { return part.Restoration(to).Swap(i.t.Context()) })
	}
	todo = slices.Insert(todo, 3, func() error {
		from, password := fresh, lost
		if keep {
			from, password = lost, fresh
		}
		return to.Server.ChangePasswords(i.t.Context(), []string{from}, password, []string{"same_by_chance"})
	})
	for _, do := range todo[:steps] {
		if err := do(); err != nil {
			i.t.Error(err)
		}
	}
}

// TestPasswordsAreTurnedBack when the files cannot be swapped, or when a role cannot log
// in afterwards.
func TestPasswordsAreTurnedBack(t *testing.T) {
	b := backUpSupabase(t, 15)
	t.Run("the files cannot be swapped", func(t *testing.T) {
		i := b.into(t, 15)
		i.wrap = func(p project.Part) project.Part {
			if p.Name() == project.Config {
				return stubborn{p}
			}
			return p
		}
		if s := i.restore(); s.Failed == nil || s.Failed.State != restore.Unchanged {
			t.Errorf("state %+v", s)
		}
		i.serves("in the end", fresh)
		i.quiet()
	})
	t.Run("a role cannot log in", func(t *testing.T) {
		i := b.into(t, 15)
		i.wrap = func(p project.Part) project.Part {
			if p.Name() == project.Config {
				return afterSwap{p, func() error {
					conn, err := pgx.Connect(t.Context(), i.s.DB.URLAs(testenv.Superuser, lost, "postgres"))
					if err == nil {
						_, err = conn.Exec(t.Context(), "ALTER ROLE authenticator PASSWORD 'x'")
					}
					return err
				}}
			}
			return p
		}
		s := i.restore()
		if s.Failed == nil || s.Failed.State != restore.Unchanged || s.Failed.Message != "The roles authenticator cannot log in with the password of the project's files" {
			t.Errorf("state %+v", s.Failed)
		}
		if err := i.s.DB.Exec(t.Context(), "postgres", "ALTER ROLE authenticator PASSWORD '"+strings.ReplaceAll(fresh, "'", "''")+"'"); err != nil {
			t.Fatal(err)
		}
		i.serves("in the end", fresh)
	})
}

// TestUndoAfterThePasswordWasChanged by the operator, and after an undo was cut off.
func TestUndoAfterThePasswordWasChanged(t *testing.T) {
	b := backUpSupabase(t, 17)
	for name, change := range map[string]func(i *install, server *project.Server) error{
		"by the operator": func(i *install, server *project.Server) error {
			env := filepath.Join(i.s.Dir, ".env")
			if err := server.ChangePasswords(t.Context(), []string{lost}, later, []string{"same_by_chance"}); err != nil {
				return err
			}
			return os.WriteFile(env, []byte("POSTGRES_PASSWORD="+later+"\n"), 0o600)
		},
		"by an undo that was cut off": func(_ *install, server *project.Server) error {
			return server.ChangePasswords(t.Context(), []string{lost}, fresh, []string{"same_by_chance"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := b.into(t, 17)
			i.create.Parts = []string{project.Config}
			if s := i.restore(); s.Completed == nil {
				t.Fatalf("state %+v", s.Failed)
			}
			i.reach()
			if err := change(i, &project.Server{URL: func(context.Context) (string, error) {
				return i.s.DB.URLAs(testenv.Superuser, lost, "postgres"), nil
			}}); err != nil {
				t.Fatal(err)
			}
			i.undo()
			i.serves("after the undo", fresh)
		})
	}
}

// TestThePlanSaysWhichPasswordItWillBe and changes nothing.
func TestThePlanSaysWhichPasswordItWillBe(t *testing.T) {
	b := backUpSupabase(t, 15)
	i := b.into(t, 15)
	plan := func(parts ...string) (check events.RestoreCheck) {
		t.Helper()
		i.create.ID = restore.NewID()
		i.a.ID, i.create.DryRun, i.create.Parts = i.create.ID, true, parts
		s := i.restore()
		if s.Completed == nil {
			t.Fatalf("state %+v", s.Failed)
		}
		for _, c := range s.Completed.Plan.Checks {
			if c.Name == "role_passwords" {
				check = c
			}
		}
		i.quiet()
		return check
	}
	if c := plan(project.Config, project.Database); !c.OK || !strings.Contains(c.Sentence, "The roles authenticator, pgbouncer,") || strings.Contains(c.Sentence, "same_by_chance") {
		t.Errorf("%+v", c)
	}
	if c := plan(project.Functions, project.Storage); c != (events.RestoreCheck{}) {
		t.Errorf("without configuration: %+v", c)
	}
	i.options.DatabaseURL = i.s.DB.URL("postgres")
	if c := plan(project.Config); !c.OK || !strings.Contains(c.Sentence, "The server's stays, since database.url has it as well, and .env comes back with it. The roles authenticator,") {
		t.Errorf("with database.url: %+v", c)
	}
	i.options.DatabaseURL = i.s.DB.URLAs("same_by_chance", lost, "postgres")
	i.create.Force = false
	if c := plan(project.Config); c.OK || c.Forced || !strings.Contains(c.Sentence, "the roles cannot get it: The role same_by_chance is no superuser;") {
		t.Errorf("without a superuser: %+v", c)
	}
	i.options.DatabaseURL = ""
	i.serves("after dry runs", fresh)
	if err := os.WriteFile(filepath.Join(i.s.Dir, ".env"), []byte("POSTGRES_PASSWORD=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := plan(project.Config); c.OK || !strings.Contains(c.Sentence, "refused the password") {
		t.Errorf("with a wrong password: %+v", c)
	}
}

// TestAnotherProjectKeepsItsPassword whatever the backup of this one says.
func TestAnotherProjectKeepsItsPassword(t *testing.T) {
	b := backUpSupabase(t, 15)
	for _, keep := range []bool{false, true} {
		i := b.into(t, 15, func(c *worker.Config) {
			c.KeepPasswords = keep
			c.Projects[0].ID = "q"
		})
		i.create.Project, i.a = "q", events.RestoreAggregate("q", i.a.ID)
		env := text(t, filepath.Join(i.s.Dir, ".env"))
		if s := i.restore(); s.Completed == nil {
			t.Fatalf("state %+v", s.Failed)
		}
		i.serves("after the restore", fresh)
		if now := text(t, filepath.Join(i.s.Dir, ".env")); now != env || strings.Contains(i.warnings(), "another database password") {
			t.Errorf(".env is %s; warnings %s", now, i.warnings())
		}
	}
}
