package project

import (
	"context"
	"crypto/md5" //nolint:gosec // compares texts, guards nothing
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

func md5Of(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // compares texts, guards nothing
	return hex.EncodeToString(sum[:])
}

// sameMeaning reports whether a definition differs in its text only. PostgreSQL writes
// a definition anew each time it reads one: BETWEEN becomes two comparisons, IN on a
// varchar becomes ANY over an array, and what one version writes another one writes
// otherwise. So the text of the backup goes through the parser of this server too,
// in a transaction that is rolled back.
func sameMeaning(ctx context.Context, conn *pgx.Conn, d difference, now object) bool {
	want := d.of
	var probe func(context.Context, pgx.Tx) (string, error)
	got := now.text(d.field)
	switch {
	case d.list == "constraints" && strings.HasPrefix(want.text(d.field), "EXCLUDE "):
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) { // it knows no NOT VALID
			return definedAgain(ctx, tx, "CREATE TEMP TABLE holdfast_probe (LIKE "+want.text("relation")+"); ALTER TABLE pg_temp.holdfast_probe ADD CONSTRAINT holdfast_probe_is "+want.text(d.field),
				"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'holdfast_probe_is'")
		}
	case d.list == "constraints" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return constraintAgain(ctx, tx, "TABLE "+want.text("relation"), "conrelid = to_regclass("+literal(want.text("relation"))+")", want.text(d.field))
		}
	case d.list == "domain_constraints" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return constraintAgain(ctx, tx, "DOMAIN "+want.text("type"), "contypid = to_regtype("+literal(want.text("type"))+")", want.text(d.field))
		}
	case d.list == "relations" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "CREATE VIEW pg_temp.holdfast_probe AS "+want.text(d.field), "SELECT pg_get_viewdef('pg_temp.holdfast_probe'::regclass)")
		}
	case d.list == "relations" && d.field == "columns":
		return sameDefaults(ctx, conn, want, now)
	case d.list == "indexes" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) { return indexAgain(ctx, tx, want, now, &got) }
	case d.list == "policies":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) { return policyAgain(ctx, tx, want, d.field) }
	case d.list == "triggers" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "DROP TRIGGER "+quote(want.text("name"))+" ON "+want.text("relation")+"; "+want.text(d.field),
				"SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = "+literal(want.text("name"))+" AND tgrelid = to_regclass("+literal(want.text("relation"))+")")
		}
	case d.list == "rules" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "DROP RULE "+quote(want.text("name"))+" ON "+want.text("relation")+"; "+want.text(d.field),
				"SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = "+literal(want.text("name"))+" AND ev_class = to_regclass("+literal(want.text("relation"))+")")
		}
	case d.list == "statistics" && d.field == "definition":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "DROP STATISTICS "+want.text("name")+"; "+want.text(d.field), "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE format('%I.%I', stxnamespace::regnamespace::text, stxname) = "+literal(want.text("name")))
		}
	case d.list == "functions" && d.field == "body":
		probe = func(ctx context.Context, tx pgx.Tx) (string, error) { return bodyAgain(ctx, tx, want, got) }
	case d.list == "publications" && d.field == "tables":
		return sameFilters(ctx, conn, want, now)
	default:
		return false
	}
	text, err := inProbe(ctx, conn, probe)
	return err == nil && text == got
}

// errRollBack ends a probe.
var errRollBack = errors.New("roll back")

// inProbe runs f in a transaction that is rolled back.
func inProbe(ctx context.Context, conn *pgx.Conn, f func(context.Context, pgx.Tx) (string, error)) (text string, err error) {
	err = quietly(ctx, conn, func(tx pgx.Tx) error {
		if text, err = f(ctx, tx); err != nil {
			return err
		}
		return errRollBack
	})
	if errors.Is(err, errRollBack) {
		err = nil
	}
	return text, err
}

// definedAgain runs statements and returns what a query then says.
func definedAgain(ctx context.Context, tx pgx.Tx, statements, query string) (text string, err error) {
	if err := execAll(ctx, tx.Conn(), statements); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, query).Scan(&text)
	return text, err
}

// constraintAgain adds a constraint that nobody checks to a table or domain.
func constraintAgain(ctx context.Context, tx pgx.Tx, on, of, definition string) (string, error) {
	suffix := " NOT VALID"
	if strings.HasSuffix(definition, suffix) {
		suffix = ""
	}
	text, err := definedAgain(ctx, tx, "ALTER "+on+" ADD CONSTRAINT holdfast_probe "+definition+suffix, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'holdfast_probe' AND "+of)
	return strings.TrimSuffix(text, suffix), err
}

// onTable finds where an index's definition goes on behind its name and table.
var onTable = regexp.MustCompile(`(?s)^CREATE (UNIQUE )?INDEX .*? ON .*? (USING .*)$`)

// indexAgain makes the index on an empty copy of its table, and so the one of now.
func indexAgain(ctx context.Context, tx pgx.Tx, want, now object, got *string) (text string, err error) {
	if _, err := tx.Exec(ctx, "CREATE TEMP TABLE holdfast_probe (LIKE "+want.text("relation")+")"); err != nil {
		return "", err
	}
	for _, x := range []struct {
		name, definition string
		into             *string
	}{{"holdfast_probe_was", want.text("definition"), &text}, {"holdfast_probe_is", now.text("definition"), got}} {
		m := onTable.FindStringSubmatch(x.definition)
		if m == nil {
			return "", fmt.Errorf("%q is no definition of an index", x.definition)
		}
		if _, err := tx.Exec(ctx, "CREATE "+m[1]+"INDEX "+x.name+" ON pg_temp.holdfast_probe "+m[2]); err != nil {
			return "", err
		}
		if err := tx.QueryRow(ctx, "SELECT replace(pg_get_indexdef($1::regclass), $2, '')", "pg_temp."+x.name, x.name).Scan(x.into); err != nil {
			return "", err
		}
	}
	return text, nil
}

// bodyAgain gives a function, whose body is now what got says, the body that it had.
func bodyAgain(ctx context.Context, tx pgx.Tx, want object, got string) (string, error) {
	var definition string
	if err := tx.QueryRow(ctx, "SELECT pg_get_functiondef($1::regprocedure)", want.text("name")).Scan(&definition); err != nil {
		return "", err
	}
	return definedAgain(ctx, tx, strings.Replace(definition, got, want.text("body"), 1), "SELECT pg_get_function_sqlbody("+literal(want.text("name"))+"::regprocedure)")
}

// published is a table of a publication: its name, its columns and the filter of its
// rows.
var published = regexp.MustCompile(`(?s)^(.*?) (\{.*?\}) (.*)$`)

// sameFilters reports whether the tables of a publication differ in the texts of their
// filters only, and those mean the same.
func sameFilters(ctx context.Context, conn *pgx.Conn, want, now object) bool {
	was, _ := want["tables"].([]any)
	is, _ := now["tables"].([]any)
	if len(was) != len(is) {
		return false
	}
	for i := range was {
		if was[i] == is[i] {
			continue
		}
		w, n := published.FindStringSubmatch(fmt.Sprint(was[i])), published.FindStringSubmatch(fmt.Sprint(is[i]))
		if w == nil || n == nil || w[1] != n[1] || w[2] != n[2] {
			return false
		}
		text, err := inProbe(ctx, conn, func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "CREATE PUBLICATION holdfast_probe FOR TABLE ONLY "+w[1]+" WHERE ("+w[3]+")", "SELECT rowfilter FROM pg_publication_tables WHERE pubname = 'holdfast_probe'")
		})
		if err != nil || text != n[3] {
			return false
		}
	}
	return true
}

// policyAgain makes a policy with one of the expressions of another.
func policyAgain(ctx context.Context, tx pgx.Tx, want object, field string) (string, error) {
	clause, command, column := "USING", "SELECT", "polqual"
	if field == "check" {
		clause, command, column = "WITH CHECK", "INSERT", "polwithcheck"
	}
	return definedAgain(ctx, tx, fmt.Sprintf("CREATE POLICY holdfast_probe ON %s FOR %s %s (%s)", want.text("relation"), command, clause, want.text(field)),
		"SELECT pg_get_expr("+column+", polrelid) FROM pg_policy WHERE polname = 'holdfast_probe'")
}

// sameDefaults reports whether the columns of a table differ in the texts of their
// defaults only, and those mean the same.
func sameDefaults(ctx context.Context, conn *pgx.Conn, want, now object) bool {
	is := columnsByName(now["columns"])
	for name, c := range columnsByName(want["columns"]) {
		was, now := fmt.Sprint(c["default"]), fmt.Sprint(is[name]["default"])
		if was == now {
			continue
		}
		definition := " DEFAULT " + was
		if generated := fmt.Sprint(c["generated"]); c["generated"] != nil && generated != "" {
			definition = " GENERATED ALWAYS AS (" + was + ") STORED"
		}
		text, err := inProbe(ctx, conn, func(ctx context.Context, tx pgx.Tx) (string, error) {
			return definedAgain(ctx, tx, "CREATE TEMP TABLE holdfast_probe (LIKE "+want.text("name")+"); ALTER TABLE pg_temp.holdfast_probe ADD COLUMN holdfast_probe "+fmt.Sprint(c["type"])+definition,
				"SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'pg_temp.holdfast_probe'::regclass")
		})
		if err != nil || text != now {
			return false
		}
	}
	return true
}
