package project

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// tocEntry is a line of the table of contents of a dump.
type tocEntry struct {
	id     string
	kind   string // such as TABLE DATA
	desc   string // the whole line behind the numbers: kind, schema, name, owner
	schema string // "-" if it is in none
	rest   string // name and owner; of a table's parts the table comes first
}

// failure is an entry that pg_restore could not restore.
type failure struct {
	id      string
	message string // what the server said first
}

var (
	tocLine = regexp.MustCompile(`^(\d+); \d+ \d+ (.*)$`)

	// The workers of pg_restore write these prefixes and what follows one by one, so
	// that those of several may stand before a message, or none.
	saidFirst = regexp.MustCompile(`^(?:pg_restore:| |error: |warning: )+`)
	fromEntry = regexp.MustCompile(`^from TOC entry (\d+);`)
	// These are errors of one entry; all others end pg_restore.
	entryError = regexp.MustCompile(`^(?:could not execute query|COPY failed for table "[^"]*"|error returned by PQputCopy\w+|could not (?:create|write to|open) large object[^:]*): (.*)$`)
	noError    = regexp.MustCompile(`^while [A-Z]`)

	kinds = []string{
		"TABLE DATA", "TABLE ATTACH", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "SEQUENCE SET", "SEQUENCE OWNED BY", "ROW SECURITY", "DEFAULT ACL", "EVENT TRIGGER", "FK CONSTRAINT", "CHECK CONSTRAINT",
		"FOREIGN DATA WRAPPER", "FOREIGN TABLE", "USER MAPPING", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE", "DATABASE PROPERTIES", "BLOB METADATA", "LARGE OBJECT", "BLOBS",
	}
)

func parseTOC(line string) (tocEntry, bool) {
	m := tocLine.FindStringSubmatch(line)
	if m == nil {
		return tocEntry{}, false
	}
	e := tocEntry{id: m[1], desc: m[2]}
	e.kind, _, _ = strings.Cut(m[2], " ")
	for _, k := range kinds {
		if strings.HasPrefix(m[2], k+" ") {
			e.kind = k
			break
		}
	}
	e.schema, e.rest, _ = strings.Cut(strings.TrimPrefix(e.desc[len(e.kind):], " "), " ")
	return e, true
}

// belongsTo reports whether an entry is of a relation or function, by its name as
// PostgreSQL quotes it, or of a part of it.
func (e tocEntry) belongsTo(name string) bool {
	for _, prefix := range []string{"", "TABLE ", "SEQUENCE ", "FUNCTION ", "COLUMN "} {
		if rest, ok := strings.CutPrefix(e.rest, prefix); ok {
			whole := strings.ReplaceAll(e.schema+"."+rest+" ", ", ", ",") // of the types of arguments
			if plain := strings.ReplaceAll(name, `"`, ""); strings.HasPrefix(whole, plain+" ") || strings.HasPrefix(whole, plain+".") {
				return true
			}
		}
	}
	return false
}

// contents lists a dump in the order in which it is restored.
func (c client) contents(ctx context.Context, dump string) ([]tocEntry, error) {
	out, err := c.output(ctx, "--list", "--create", dump)
	if err != nil {
		return nil, err
	}
	var all []tocEntry
	for line := range strings.Lines(out) {
		if e, ok := parseTOC(strings.TrimRight(line, "\n")); ok {
			all = append(all, e)
		}
	}
	return all, nil
}

// output runs pg_restore without a connection and returns what it prints.
func (c client) output(ctx context.Context, args ...string) (string, error) {
	cmd, err := c.command(ctx, "pg_restore")
	if err != nil {
		return "", err
	}
	cmd.Args = append([]string{cmd.Path}, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", toolError("pg_restore", err, stderr.String())
	}
	return out.String(), nil
}

// restoreOptions are settings of the sessions of pg_restore. Nothing waits for the
// disk until the swap, whose commit makes everything before it durable as well.
// pg_dump writes NULL into arrays whatever array_nulls says.
const restoreOptions = "-c synchronous_commit=off -c array_nulls=on"

// restore runs pg_restore and returns the entries that failed, in the order in
// which they did. An error means that it did not get to its end.
func (c client) restore(ctx context.Context, dump string, args ...string) ([]failure, error) {
	cmd, err := c.command(ctx, "pg_restore", append(append([]string{"--verbose"}, args...), dump)...) // else it names no entries
	if err != nil {
		return nil, err
	}
	_, secret, err := split(c.url)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "PGOPTIONS="+c.options(secret, restoreOptions, c.session))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fail(err, "pg_restore cannot be started.")
	}
	failures, fatal := readFailures(stderr)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case fatal != "":
		return nil, toolError("pg_restore", errors.Join(err, errors.New("ended early")), fatal)
	case err != nil && (failures == nil || !exited(err, 1)):
		return nil, toolError("pg_restore", err, "")
	}
	for _, f := range failures {
		if ofServer.MatchString(f.message) {
			return nil, lost(errors.New(f.message), "pg_restore was stopped by the server: %s", f.message)
		}
	}
	return failures, nil
}

// exited reports whether a tool ended by itself with one of the codes.
func exited(err error, codes ...int) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.Exited() && slices.Contains(codes, exit.ExitCode())
}

// ofServer finds messages that say nothing of the entry that they stopped, but of the
// server.
var ofServer = regexp.MustCompile(`No space left on device|could not (?:extend|write to) file|out of (?:shared )?memory|server closed the connection|terminating connection|connection to server`)

// psqlScriptError is how psql ends after an error in a script.
const psqlScriptError = 3

// readFailures reads what pg_restore says of its work. fatal is what ended it. When
// entries fail at the same time in several workers, the message of one may be told of
// another; which ones have failed is certain.
func readFailures(r io.Reader) (failures []failure, fatal string) {
	seen := map[string]bool{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\n")
		prefix := saidFirst.FindString(line)
		said := line[len(prefix):]
		entry, failed := fromEntry.FindStringSubmatch(said), entryError.FindStringSubmatch(said)
		switch {
		case entry != nil:
			if !seen[entry[1]] {
				seen[entry[1]] = true
				failures = append(failures, failure{id: entry[1]})
			}
		case failed != nil && (strings.Contains(failed[1], "server closed the connection") || strings.Contains(failed[1], "terminating connection")):
			fatal = line
		case failed != nil && len(failures) > 0 && failures[len(failures)-1].message == "": // a second error of an entry says nothing new
			failures[len(failures)-1].message = strings.TrimPrefix(strings.TrimSpace(failed[1]), "ERROR:  ")
		case failed == nil && fatal == "" && strings.Contains(prefix, "pg_restore:") && strings.HasSuffix(prefix, "error: ") && !noError.MatchString(said):
			fatal = line
		}
		if err != nil {
			return failures, fatal
		}
	}
}

// emptyPath is how pg_restore clears the search_path.
const emptyPath = "SELECT pg_catalog.set_config('search_path', '', false);"

// retry restores one entry alone, as a whole or not at all, with a search_path
// that finds what functions name without a schema.
func (c client) retry(ctx context.Context, dump, scratch, id, path string, options []string) error {
	list, err := os.CreateTemp(scratch, "entry")
	if err != nil {
		return err
	}
	defer os.Remove(list.Name()) //nolint:errcheck // in the scratch folder, which is removed
	_, err = fmt.Fprintf(list, "%s; 0 0\n", id)
	if err := errors.Join(err, list.Close()); err != nil {
		return err
	}
	from, err := c.command(ctx, "pg_restore")
	if err != nil {
		return err
	}
	from.Args = slices.Concat([]string{from.Path, "--file=-", "--use-list=" + list.Name()}, options, []string{dump})
	into, err := c.command(ctx, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null")
	if err != nil {
		return err
	}
	var said, stderr tail
	from.Stderr, into.Stderr = &stderr, &said
	out, err := from.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := into.StdinPipe()
	if err != nil {
		return err
	}
	if err := into.Start(); err != nil {
		return err
	}
	if err := from.Start(); err != nil {
		return errors.Join(err, in.Close(), into.Wait())
	}
	copyErr := withPath(in, out, path)
	copyErr = errors.Join(copyErr, in.Close())
	_, _ = io.Copy(io.Discard, out) // when psql has ended early
	ferr, ierr := from.Wait(), into.Wait()
	switch {
	case ierr != nil && (!exited(ierr, psqlScriptError) || ofServer.MatchString(said.String())):
		return lost(ierr, "An entry of the dump could not be restored: %s", firstError(said.String()))
	case ierr != nil:
		return errors.New(firstError(said.String()))
	case ferr != nil:
		return toolError("pg_restore", ferr, stderr.String())
	}
	return copyErr
}

// withPath copies a script and sets the search_path where it clears it.
func withPath(to io.Writer, from io.Reader, path string) error {
	r := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := r.ReadString('\n')
		found := strings.TrimRight(line, "\n") == emptyPath
		if found {
			line = "SET search_path = " + path + ";\nSET session_replication_role = replica;\n"
		}
		if _, werr := io.WriteString(to, line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if found {
			_, err := io.Copy(to, r)
			return err
		}
	}
}

var (
	psqlError = regexp.MustCompile(`(?m)^(?:psql:.*?)?(?:ERROR|FATAL):\s+(.*)$`)
	psqlMore  = regexp.MustCompile(`(?m)^(?:DETAIL|HINT):\s+(.*)$`)
)

// firstError returns the first error that psql tells of, with its detail and its hint.
func firstError(stderr string) string {
	at := psqlError.FindStringSubmatchIndex(stderr)
	if at == nil {
		return cut(strings.TrimSpace(stderr), 400)
	}
	said, rest := stderr[at[2]:at[3]], stderr[at[3]:]
	if next := psqlError.FindStringIndex(rest); next != nil {
		rest = rest[:next[0]]
	}
	for _, more := range psqlMore.FindAllStringSubmatch(rest, -1) {
		said = strings.TrimSuffix(said, ".") + ". " + more[1]
	}
	return said
}

// script lets psql run a script as one transaction.
func (c client) script(ctx context.Context, script string) error {
	cmd, err := c.command(ctx, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null", "--file=-")
	if err != nil {
		return err
	}
	var said tail
	cmd.Stdin, cmd.Stderr = strings.NewReader(script), &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fail(fmt.Errorf("%w: %s", err, said.String()), "What had to wait for the name of the database could not be restored: %s", firstError(said.String()))
	}
	return nil
}

// again tries entries that failed one by one, in the order of the dump, until no more
// succeed, and returns those that are left.
func (c client) again(ctx context.Context, dump, scratch, path string, toc []tocEntry, failed []failure, options []string) ([]failure, error) {
	place := map[string]int{}
	for i, e := range toc {
		place[e.id] = i
	}
	slices.SortFunc(failed, func(a, b failure) int { return place[a.id] - place[b.id] })
	for {
		var left []failure
		for _, f := range failed {
			if toc[place[f.id]].kind == "EXTENSION" { // only makeExtensions knows how
				left = append(left, f)
				continue
			}
			if err := c.retry(ctx, dump, scratch, f.id, path, options); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if MayRetry(err) {
					return nil, err
				}
				left = append(left, failure{f.id, err.Error()})
			}
		}
		if len(left) == 0 || len(left) == len(failed) {
			return left, nil
		}
		failed = left
	}
}
