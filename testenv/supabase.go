package testenv

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

//go:embed fixture
var fixture embed.FS

// ProjectPassword is what a project's POSTGRES_PASSWORD is unless a test says
// otherwise. It has what quoting, URLs and .env files stumble on.
const ProjectPassword = `it's p@ss:w/rd? "5$" 100%#`

// ServiceRoles are the roles that the services of a project log in as. Their password
// is POSTGRES_PASSWORD.
var ServiceRoles = []string{
	"supabase_admin", "postgres", "authenticator", "pgbouncer", "supabase_auth_admin", "supabase_storage_admin", "supabase_functions_admin",
	"supabase_replication_admin", "supabase_read_only_user", "supabase_etl_admin",
}

// Supabase is a self-hosted Supabase project: a folder as its installer lays it
// out, and the database.
type Supabase struct {
	DB  *Postgres
	Dir string // with docker-compose.yml, .env and volumes/
}

// SupabaseConfig shapes a project.
type SupabaseConfig struct {
	Major    int    // of PostgreSQL: 15 (old layout, Kong) or 17 (new layout, Envoy)
	Dir      string // made; must not exist
	Objects  int    // storage objects
	Name     string // of the compose project; default: supabase
	Password string // POSTGRES_PASSWORD; default: [ProjectPassword]
	// Fresh leaves out what a user made and stored: a new installation.
	Fresh bool
	// Hard adds what restores stumble on, see fixture/hard.sql.
	Hard bool
	// Vault is the version of supabase_vault that the server makes: 0.3.1, the default,
	// 0.2.8, which needs pgsodium, or 0.2.1 of early 2023.
	Vault    string
	Settings []string // of the server, "name=value"
}

// StartSupabase makes a project and starts its database. The caller must call
// [Supabase.Stop].
func StartSupabase(ctx context.Context, c SupabaseConfig) (*Supabase, error) {
	if c.Password == "" {
		c.Password = ProjectPassword
	}
	if c.Vault == "" {
		c.Vault = "0.3.1"
	}
	if c.Name == "" {
		c.Name = "supabase"
	}
	pg, err := StartCluster(ctx, PostgresConfig{Major: c.Major, Settings: c.Settings, Password: c.Password, ICU: true, Image: true})
	if err != nil {
		return nil, err
	}
	s := &Supabase{DB: pg, Dir: c.Dir}
	if err := s.build(ctx, c); err != nil {
		pg.Stop()
		return nil, err
	}
	return s, nil
}

// NewSupabase is StartSupabase for tests. The project ends with the test.
func NewSupabase(tb testing.TB, c SupabaseConfig) *Supabase {
	tb.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(tb.TempDir(), "docker")
	}
	s, err := StartSupabase(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// NewPostgres is StartPostgres for tests. The server ends with the test.
func NewPostgres(tb testing.TB, major int, settings ...string) *Postgres {
	tb.Helper()
	p, err := StartPostgres(tb.Context(), major, settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Stop)
	return p
}

// Stop stops the database. The folder stays.
func (s *Supabase) Stop() { s.DB.Stop() }

// NewCluster is StartCluster for tests. The server ends with the test.
func NewCluster(tb testing.TB, c PostgresConfig) *Postgres {
	tb.Helper()
	p, err := StartCluster(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Stop)
	return p
}

func (s *Supabase) build(ctx context.Context, c SupabaseConfig) error {
	if err := errors.Join(s.DB.setVersion("supabase_vault", c.Vault), s.DB.setVersion("pgsodium", pgsodiumOf[c.Vault])); err != nil {
		return err
	}
	// initdb made the database "postgres"; its owner is changed by the fixture.
	if err := s.DB.Exec(ctx, "postgres", "CREATE DATABASE _supabase"); err != nil {
		return err
	}
	for _, f := range c.scripts() {
		if err := s.DB.Exec(ctx, f.database, f.sql); err != nil {
			return fmt.Errorf("fixture %s: %w", f.name, err)
		}
	}
	if c.Major < 17 { // its pg_cron finds its tables at the start of the server only
		s.DB.Signal(syscall.SIGINT)
		if err := s.DB.Start(ctx); err != nil {
			return err
		}
	}
	if err := writeLayout(s.Dir, c, s.DB.Port); err != nil {
		return err
	}
	return s.AddObjects(ctx, 0, c.Objects)
}

// pgsodiumOf are the versions of pgsodium that come with those of the vault.
var pgsodiumOf = map[string]string{"0.2.1": "3.0.4", "0.2.8": "3.1.8", "0.3.1": "3.1.8"}

type script struct{ name, database, sql string }

// scripts returns what makes the databases of a project, in this order.
func (c SupabaseConfig) scripts() []script {
	first := `CREATE SCHEMA extensions AUTHORIZATION postgres; SET SESSION AUTHORIZATION postgres; CREATE EXTENSION "uuid-ossp" SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions; CREATE EXTENSION pg_stat_statements SCHEMA extensions;`
	if c.Major < 16 {
		first += "CREATE EXTENSION pgjwt SCHEMA extensions;"
	}
	vault := "CREATE EXTENSION supabase_vault"
	if c.Vault != "0.3.1" {
		vault = "CREATE EXTENSION pgsodium; " + vault
	}
	out := []script{
		read("roles.sql", "postgres"),
		{"passwords", "postgres", passwords(c.Password)},
		{"first extensions", "postgres", first},
		read("services.sql", "postgres"), read("internal.sql", "_supabase"),
		{"vault", "postgres", vault},
	}
	if c.Fresh {
		return out
	}
	out = append(out, read("project.sql", "postgres"))
	if c.Hard {
		out = append(out, read("hard.sql", "postgres"), read(fmt.Sprintf("hard%d.sql", c.Major), "postgres"))
	}
	return out
}

func read(name, database string) script {
	sql, err := fixture.ReadFile("fixture/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return script{name, database, string(sql)}
}

// passwords returns what gives the service roles their password.
func passwords(password string) string {
	var b strings.Builder
	for _, role := range ServiceRoles {
		fmt.Fprintf(&b, "ALTER ROLE %s PASSWORD '%s';", role, strings.ReplaceAll(password, "'", "''"))
	}
	return b.String()
}
