package project

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rolePlan is what of the roles of a backup a server lacks.
type rolePlan struct {
	missing    []string
	statements []string
}

// planRoles finds the statements of a pg_dumpall that make the roles that are not
// there yet, with their settings and memberships. Roles that are there are not touched;
// for their passwords see [Server.ChangePasswords].
func planRoles(globals string, there []string) rolePlan {
	var p rolePlan
	for _, s := range statements(globals) {
		w := words(s, 5)
		if len(w) >= 3 && w[0] == "CREATE" && w[1] == "ROLE" && !slices.Contains(there, w[2]) {
			p.missing = append(p.missing, w[2])
		}
	}
	for _, s := range statements(globals) {
		w := words(s, 4)
		about := ""
		switch {
		case len(w) >= 3 && (w[0] == "CREATE" || w[0] == "ALTER") && w[1] == "ROLE":
			about = w[2]
		case len(w) >= 4 && w[0] == "COMMENT" && w[2] == "ROLE":
			about = w[3]
		case len(w) >= 4 && w[0] == "GRANT" && w[2] == "TO": // role TO member
			about = w[3]
			if slices.Contains(p.missing, w[1]) {
				about = w[1]
			}
		}
		if slices.Contains(p.missing, about) && !strings.Contains(s, " IN DATABASE ") {
			p.statements = append(p.statements, s)
		}
	}
	return p
}

// membership is a role that another one is a member of.
type membership struct{ role, member string }

// grant is how a membership comes back.
type grant struct {
	membership
	statement string
}

// lostMemberships finds, in the statements of a pg_dumpall, the memberships between
// roles that are there which are not there any more. Who had granted them is left to
// the server.
func lostMemberships(globals string, there []string, now []membership) (out []grant) {
	for _, s := range statements(globals) {
		w := words(s, 4)
		if len(w) < 4 || w[0] != "GRANT" || w[2] != "TO" {
			continue
		}
		m := membership{w[1], w[3]}
		if slices.Contains(now, m) || !slices.Contains(there, m.role) || !slices.Contains(there, m.member) {
			continue
		}
		s, _, _ = strings.Cut(s, " GRANTED BY ")
		now, out = append(now, m), append(out, grant{m, s}) // once, whoever had granted it
	}
	return out
}

func memberships(ctx context.Context, conn *pgx.Conn) ([]membership, error) {
	rows, err := conn.Query(ctx, "SELECT DISTINCT r.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m membership, err error) {
		return m, row.Scan(&m.role, &m.member)
	})
}

func roleNames(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, "SELECT rolname FROM pg_roles")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// settingsOf finds, in the script of a dump with --create, what is set for the
// database as a whole, and gives it to another database.
func settingsOf(script, database string) []string {
	var out []string
	for _, s := range statements(script) {
		w := words(s, 9)
		i := -1 // where the name of the database stands
		switch {
		case len(w) > 3 && w[0] == "ALTER" && w[1] == "DATABASE" && (w[3] == "SET" || w[3] == "CONNECTION"):
			i = 2
		case len(w) > 5 && w[0] == "ALTER" && w[1] == "ROLE" && w[3] == "IN" && w[4] == "DATABASE":
			i = 5
		case len(w) > 3 && w[0] == "COMMENT" && w[2] == "DATABASE":
			i = 3
		case len(w) > 4 && (w[0] == "GRANT" || w[0] == "REVOKE"):
			for j := 2; j+1 < len(w); j++ {
				if w[j] == "ON" && w[j+1] == "DATABASE" {
					i = j + 2
				}
			}
		}
		if i > 0 && i < len(w) {
			out = append(out, replaceWord(s, i, quote(database)))
		}
	}
	return out
}

// replaceWord replaces the nth word of a statement.
func replaceWord(s string, n int, with string) string {
	before := 0
	for range n {
		before = endOfWord(s, before)
	}
	for before < len(s) && strings.ContainsRune(" \n\t", rune(s[before])) {
		before++
	}
	return s[:before] + with + s[endOfWord(s, before):]
}

func endOfWord(s string, at int) int {
	for at < len(s) && strings.ContainsRune(" \n\t", rune(s[at])) {
		at++
	}
	quoted := false
	for ; at < len(s); at++ {
		if s[at] == '"' {
			quoted = !quoted
		} else if !quoted && strings.ContainsRune(" \n\t", rune(s[at])) {
			return at
		}
	}
	return at
}
