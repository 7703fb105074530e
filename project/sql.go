package project

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// quote makes an identifier of SQL.
func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }

// literal makes a string of SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// statements splits a script as pg_dumpall and pg_restore write it: at semicolons
// outside of quotes. Comments and psql's commands are left out.
func statements(script string) []string {
	var out []string
	var b strings.Builder
	quoted := byte(0)
	for line := range strings.Lines(script) {
		if quoted == 0 && strings.TrimSpace(b.String()) == "" && (strings.HasPrefix(line, "--") || strings.HasPrefix(line, "\\") || strings.TrimSpace(line) == "") {
			continue
		}
		for i := range len(line) {
			c := line[i]
			switch {
			case quoted != 0 && c == quoted:
				quoted = 0
			case quoted == 0 && (c == '\'' || c == '"'):
				quoted = c
			case quoted == 0 && c == ';':
				out = append(out, strings.TrimSpace(b.String()))
				b.Reset()
				continue
			}
			b.WriteByte(c)
		}
	}
	return out
}

// words splits the beginning of a statement into at most n words, identifiers
// without their quotes.
func words(statement string, n int) []string {
	var out []string
	rest := strings.TrimSpace(statement)
	for rest != "" && len(out) < n {
		if rest[0] != '"' {
			i := strings.IndexAny(rest, " \n\t")
			if i < 0 {
				i = len(rest)
			}
			out, rest = append(out, rest[:i]), strings.TrimSpace(rest[i:])
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(rest); i++ {
			if rest[i] == '"' {
				if i+1 == len(rest) || rest[i+1] != '"' {
					break
				}
				i++
			}
			b.WriteByte(rest[i])
		}
		out, rest = append(out, b.String()), strings.TrimSpace(rest[min(i+1, len(rest)):])
	}
	return out
}
