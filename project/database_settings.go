package project

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// applySettings gives the new database what was set for the old one as a whole, and
// returns the statements that must wait until the database is complete.
func (b *databaseBuild) applySettings(ctx context.Context, c client) (late []string, err error) {
	var list strings.Builder
	for _, e := range b.toc {
		if e.kind == "DATABASE" || e.kind == "DATABASE PROPERTIES" || strings.HasPrefix(e.desc, "ACL - DATABASE ") || strings.HasPrefix(e.desc, "COMMENT - DATABASE ") {
			list.WriteString(e.id + "; 0 0\n")
		}
	}
	if list.Len() == 0 {
		return nil, nil
	}
	file := filepath.Join(b.d.t.Scratch, "settings")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return nil, err
	}
	script, err := c.output(ctx, "--create", "--file=-", "--use-list="+file, b.dump)
	if err != nil {
		return nil, err
	}
	all := settingsOf(script, b.pair.fresh)
	if b.d.t.Foreign {
		if all, err = b.keepOwnSettings(ctx, all); err != nil {
			return nil, err
		}
	}
	var early []string
	for _, s := range all {
		if slices.Contains(lateSettings, settingName(s)) {
			late = append(late, s)
		} else {
			early = append(early, s)
		}
	}
	b.setAll(ctx, early)
	return late, nil
}

// lateSettings would keep our own sessions from working on the database, and no
// setting of a session undoes them. The shield is against all others.
var lateSettings = []string{"session_preload_libraries", "local_preload_libraries", "role", "session_authorization", "session_replication_role"}

// setAll makes settings. One that cannot be made costs no restore.
func (b *databaseBuild) setAll(ctx context.Context, statements []string) {
	for _, s := range statements {
		if _, err := b.a.conn.Exec(ctx, s); err != nil {
			what := settingName(s)
			if what == "" {
				what = strings.Join(words(s, 2), " ")
			}
			b.d.t.warn(Database, "setting_lost", what, fmt.Sprintf("The setting %s of the database could not be made again: %v", what, refused(err, words(s, 1)[0])))
		}
	}
}

// settingName returns which setting an ALTER DATABASE or ALTER ROLE … SET is about,
// in lower case; "" for other statements.
func settingName(statement string) string {
	w := words(statement, 8)
	if i := slices.Index(w, "SET"); i > 0 && i+1 < len(w) {
		return strings.ToLower(strings.Trim(w[i+1], `"`))
	}
	return ""
}

// secretName finds names of settings that hold secrets, or addresses that belong to
// one project.
var secretName = regexp.MustCompile(`(?i)secret|password|passwd|token|jwt|credential|private|api_?key|_key$|\.key$|dsn|url|uri|host`)

// keepOwnSettings chooses what of another project's settings comes: the settings of
// its own name spaces (app.settings.jwt_secret and the like) that this project has
// are kept, and those of the other that hold secrets or addresses are left out.
func (b *databaseBuild) keepOwnSettings(ctx context.Context, statements []string) ([]string, error) {
	rows, err := b.a.conn.Query(ctx, `SELECT 'ALTER DATABASE ' || quote_ident($2) || ' SET ' || quote_ident(split_part(c, '=', 1)) || ' TO ' || quote_literal(substr(c, strpos(c, '=') + 1)) FROM pg_db_role_setting s, unnest(s.setconfig) c
 WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = $1) AND split_part(c, '=', 1) LIKE '%.%'`, b.pair.live, b.pair.fresh)
	if err != nil {
		return nil, wrapSQL(err)
	}
	own, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, wrapSQL(err)
	}
	var kept []string
	for _, s := range own {
		kept = append(kept, settingName(s))
	}
	out := own
	for _, s := range statements {
		name := settingName(s)
		switch {
		case slices.Contains(kept, name):
			b.d.t.warn(Database, "setting_kept", name, fmt.Sprintf("The setting %s of this project was kept; the backup of the other project has one of its own.", name))
		case strings.Contains(name, ".") && secretName.MatchString(name):
			b.d.t.warn(Database, "setting_foreign", name, fmt.Sprintf("The setting %s of the other project was left out; set it for this project if its functions need it.", name))
		default:
			out = append(out, s)
		}
	}
	return out, nil
}
