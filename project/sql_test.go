package project

import (
	"slices"
	"testing"
)

func TestStatements(t *testing.T) {
	got := statements("-- a comment; no\n\\restrict x\nSET a = 'x;\n-- y';\nCREATE ROLE \"o;\"\"dd\";\n\nALTER ROLE b\n  SET c TO 'd';\nunfinished")
	want := []string{"SET a = 'x;\n-- y'", `CREATE ROLE "o;""dd"`, "ALTER ROLE b\n  SET c TO 'd'"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string][]string{
		`ALTER ROLE "a ""b"" c" SET`: {"ALTER", "ROLE", `a "b" c`, "SET"},
		"one\n two":                  {"one", "two"},
		`"open`:                      {"open"},
		"":                           nil,
	} {
		if got := words(s, 9); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", s, got, want)
		}
	}
}

func TestPlanRoles(t *testing.T) {
	const globals = `
CREATE ROLE anon;
ALTER ROLE anon WITH NOLOGIN;
CREATE ROLE "app reader";
ALTER ROLE "app reader" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;y';
COMMENT ON ROLE "app reader" IS 'it''s';
ALTER ROLE anon SET statement_timeout TO '3s';
ALTER ROLE "app reader" SET work_mem TO '1MB';
ALTER ROLE "app reader" IN DATABASE postgres SET work_mem TO '2MB';
GRANT anon TO "app reader" WITH INHERIT TRUE GRANTED BY supabase_admin;
GRANT anon TO postgres GRANTED BY supabase_admin;
`
	p := planRoles(globals, []string{"anon", "postgres", "supabase_admin"})
	want := []string{
		`CREATE ROLE "app reader"`, `ALTER ROLE "app reader" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;y'`, `COMMENT ON ROLE "app reader" IS 'it''s'`,
		`ALTER ROLE "app reader" SET work_mem TO '1MB'`, `GRANT anon TO "app reader" WITH INHERIT TRUE GRANTED BY supabase_admin`,
	}
	if !slices.Equal(p.missing, []string{"app reader"}) || !slices.Equal(p.statements, want) {
		t.Errorf("got %+v", p)
	}
}

func TestLostMemberships(t *testing.T) {
	const globals = `
CREATE ROLE anon;
GRANT anon TO "app reader" WITH INHERIT TRUE GRANTED BY supabase_admin;
GRANT anon TO "app reader" WITH INHERIT TRUE GRANTED BY postgres;
GRANT anon TO authenticator GRANTED BY supabase_admin;
GRANT anon TO postgres WITH ADMIN OPTION;
GRANT gone TO postgres;
GRANT SET ON PARAMETER work_mem TO postgres;
`
	got := lostMemberships(globals, []string{"anon", "postgres", "authenticator", "app reader"}, []membership{{"anon", "authenticator"}})
	want := []grant{{membership{"anon", "app reader"}, `GRANT anon TO "app reader" WITH INHERIT TRUE`}, {membership{"anon", "postgres"}, "GRANT anon TO postgres WITH ADMIN OPTION"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestSettingsOf(t *testing.T) {
	const script = `
CREATE DATABASE "po""st" WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE "po""st" OWNER TO postgres;
\connect "po""st"
COMMENT ON DATABASE "po""st" IS 'the project''s; database';
ALTER DATABASE "po""st" SET "app.settings.jwt_exp" TO '3600';
ALTER ROLE app_reader IN DATABASE "po""st" SET statement_timeout TO '5s';
GRANT CREATE, CONNECT ON DATABASE "po""st" TO anon;
REVOKE ALL ON DATABASE "po""st" FROM PUBLIC;
GRANT ALL ON SCHEMA public TO anon;
`
	want := []string{
		`COMMENT ON DATABASE "new" IS 'the project''s; database'`, `ALTER DATABASE "new" SET "app.settings.jwt_exp" TO '3600'`,
		`ALTER ROLE app_reader IN DATABASE "new" SET statement_timeout TO '5s'`, `GRANT CREATE, CONNECT ON DATABASE "new" TO anon`, `REVOKE ALL ON DATABASE "new" FROM PUBLIC`,
	}
	if got := settingsOf(script, "new"); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
