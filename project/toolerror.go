package project

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	toolPrefix   = regexp.MustCompile(`^(pg_dump|pg_dumpall|pg_restore|psql): (error|detail|hint|fatal): `)
	serverDetail = regexp.MustCompile(`^(DETAIL|HINT): +`)
	forbidden    = regexp.MustCompile(`permission denied for (?:large object|table|relation|view|sequence|schema|function|foreign server|materialized view|foreign table) \S+|query would be affected by row-level security policy for table \S+`)
)

// toolWords returns what a tool says went wrong, with the detail and the hint of the
// server, but without the query.
func toolWords(stderr string) string {
	var said []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		tool, server := toolPrefix.FindString(line), serverDetail.FindString(line)
		line = strings.TrimPrefix(line, tool+server)
		query := strings.HasPrefix(line, "Query was: ") || strings.HasPrefix(line, "Command was: ")
		switch {
		case server != "" && len(said) > 0, tool != "" && !query && !strings.Contains(tool, "hint"):
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// toolError makes a sentence out of the last words of a tool.
func toolError(name string, err error, stderr string) error {
	all := toolWords(stderr)
	details := fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr))
	switch {
	case strings.Contains(all, "canceling statement due to statement timeout") && strings.Contains(stderr, "LOCK TABLE"),
		strings.Contains(all, "canceling statement due to lock timeout"):
		return fail(details, "%s waited too long for a lock that another session holds on a table; try again when that has ended, or raise backup.lock_timeout.", name)
	case strings.Contains(all, "canceling statement due to user request"):
		return lost(details, "Somebody cancelled a query of %s on the database server (pg_cancel_backend).", name)
	case strings.Contains(all, "terminating connection due to administrator command"):
		return lost(details, "The connection of %s was ended on the database server, by pg_terminate_backend or because the server went away.", name)
	case strings.Contains(all, "server closed the connection unexpectedly"), strings.Contains(all, "terminating connection"):
		return lost(details, "The database server went away while %s was reading.", name)
	case strings.Contains(all, "connection to server at") && !strings.Contains(all, "FATAL"), strings.Contains(all, "the database system is"):
		return lost(details, "The database server cannot be reached by %s; is it running?", name)
	case strings.Contains(all, "too many clients"), strings.Contains(all, "remaining connection slots"), strings.Contains(all, "out of shared memory"):
		return lost(details, "%s failed: %s", name, cut(all, 600))
	case strings.Contains(all, "password authentication failed"):
		return fail(details, "The database refused the password; check database.url or POSTGRES_PASSWORD.")
	case strings.Contains(all, "unsupported startup parameter"):
		return fail(details, "%s reached a connection pooler; database.url must lead to the database server itself.", name)
	case forbidden.MatchString(all):
		return fail(details, "The role of database.url may not read everything: %s. Connect as a superuser, such as supabase_admin.", forbidden.FindString(all))
	case all == "":
		return fail(details, "%s ended without a word (%v).", name, err)
	}
	return fail(details, "%s failed: %s", name, cut(all, 600))
}
