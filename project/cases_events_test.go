package project_test

import (
	"strings"
	"testing"
)

// TestEventTriggersSeeNothing has event triggers that log, or refuse, every command: what
// Holdfast does is none of the project's.
func TestEventTriggersSeeNothing(t *testing.T) {
	log := `CREATE TABLE public.ddl_log (id serial, tag text); CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END $$;
CREATE TABLE public.t (v int); CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION public.two() RETURNS int LANGUAGE sql AS 'SELECT 2'; INSERT INTO public.t VALUES (1); INSERT INTO public.ddl_log (tag) VALUES ('first'); CREATE EVENT TRIGGER log_ddl ON EVENT EXECUTE FUNCTION public.log_ddl();`
	refuse := `CREATE FUNCTION public.freeze() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'schema is frozen'; END $$; CREATE TABLE public.ddl_log (v int); CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO public.ddl_log VALUES (1); CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION public.freeze();`
	// pg_graphql is made anew, which only its own event trigger may see.
	graphql := `CREATE SCHEMA graphql; CREATE SCHEMA graphql_public; CREATE SCHEMA extensions; CREATE EXTENSION pg_graphql; CREATE FUNCTION extensions.grant_pg_graphql_access() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$;
CREATE EVENT TRIGGER issue_pg_graphql_access ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION extensions.grant_pg_graphql_access();`
	var trips []trip
	add := func(name, sql, more string, major int) {
		trips = append(trips, trip{name: name, major: major, sql: sql + more, query: "SELECT count(*) FROM public.ddl_log", want: "1"})
	}
	for _, event := range []string{"ddl_command_start", "ddl_command_end", "sql_drop", "table_rewrite"} {
		on := strings.ReplaceAll(log, "ON EVENT", "ON "+event)
		add(event+" always", on, "ALTER EVENT TRIGGER log_ddl ENABLE ALWAYS", 0)
		if event == "ddl_command_end" {
			add(event, on, "", 0)
			add(event+" replica", on, "ALTER EVENT TRIGGER log_ddl ENABLE REPLICA", 0)
			add(event+" and pg_graphql", graphql+on, "", 0)
			add(event+" always and pg_graphql", graphql+on, "ALTER EVENT TRIGGER log_ddl ENABLE ALWAYS", 0)
		}
	}
	add("refused", refuse, "", 0)
	add("refused always", refuse, "ALTER EVENT TRIGGER log_ddl ENABLE ALWAYS", 0)
	add("refused always and pg_graphql", graphql+refuse, "ALTER EVENT TRIGGER log_ddl ENABLE ALWAYS", 0)
	trips = append(trips, trip{name: "login always", major: 17, sql: `CREATE TABLE public.logins (id serial, who text); INSERT INTO public.logins (who) VALUES ('first'); CREATE FUNCTION public.on_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.logins (who) VALUES (session_user); END $$;
CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION public.on_login(); ALTER EVENT TRIGGER on_login ENABLE ALWAYS`}) // a query of the test would be logged
	for i := range trips {
		if strings.Contains(trips[i].name, "pg_graphql") {
			trips[i].differs = []string{"sequences: "} // of pg_graphql, which each DDL moves
		}
	}
	runTrips(t, trips)
}
