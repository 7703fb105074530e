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
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
)

// tocEntry is an entry of the table of contents of a dump.
type tocEntry struct {
	id     string
	kind   string // such as TABLE DATA
	desc   string // for people: kind, schema, name, owner
	schema string // "-" if it is in none
	tag    string // its name; of a table's parts the table comes first
	owner  string
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
	var rest string
	e.schema, rest, _ = strings.Cut(strings.TrimPrefix(e.desc[len(e.kind):], " "), " ")
	i := strings.LastIndexByte(rest, ' ') // an owner with a space cannot be told from the name here, see exactly
	e.tag, e.owner = rest[:max(i, 0)], rest[i+1:]
	return e, true
}

// exactly gives entries what the dump itself says that they are.
func exactly(toc []tocEntry, said []pgcustom.Entry) {
	known := map[string]pgcustom.Entry{}
	for _, x := range said {
		known[strconv.Itoa(x.ID)] = x
	}
	for i := range toc {
		e := &toc[i]
		if x, ok := known[e.id]; ok {
			e.kind, e.schema, e.tag, e.owner = x.Kind, x.Schema, x.Tag, x.Owner
			if e.schema == "" {
				e.schema = "-"
			}
		}
	}
}

// partKinds are the kinds whose tag is the name of a relation or type and then that of
// a part of it.
var partKinds = []string{"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE", "POLICY", "DEFAULT"}

// plain takes the quotes out of a name, and makes one spelling of the lists of the
// types of arguments.
func plain(name string) string {
	return strings.NewReplacer(`"`, "", ", ", ",", "(*)", "()").Replace(name)
}

// belongsTo reports whether an entry is of a relation or function, by its name as
// PostgreSQL quotes it, or of a part of it.
func (e tocEntry) belongsTo(name string) bool {
	want := plain(name)
	if whole := plain(e.schema + "." + e.tag); whole == want || slices.Contains(partKinds, e.kind) && strings.HasPrefix(whole, want+" ") {
		return true
	}
	for _, prefix := range []string{"TABLE ", "SEQUENCE ", "FUNCTION ", "COLUMN "} { // of privileges and comments
		rest, ok := strings.CutPrefix(e.tag, prefix)
		whole := plain(e.schema + "." + rest)
		if ok && (whole == want || prefix == "COLUMN " && strings.HasPrefix(whole, want+".")) {
			return true
		}
	}
	return false
}

// isNamed reports whether an entry is of an object that lies in no schema, such as an
// extension, or of its privileges or comment.
func (e tocEntry) isNamed(kind, name string) bool {
	return e.kind == kind && e.tag == name || e.tag == kind+" "+name
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
func (c client) retry(ctx context.Context, dump, scratch string, e tocEntry, path string, options []string) error {
	conn, err := connect(ctx, c.url, nil)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending
	s := session{conn}
	if err := s.statements(ctx, []byte("BEGIN")); err != nil {
		return scriptError(ctx, err)
	}
	var run error
	err = c.script(ctx, dump, scratch, e, options, func(script io.Reader) error {
		run = readScript(ctx, script, e, "SET search_path = "+path+";\nSET session_replication_role = replica;\n", s)
		return run
	})
	if run == nil && err == nil {
		run = s.statements(ctx, []byte("COMMIT"))
	}
	if run != nil {
		return scriptError(ctx, run)
	}
	return err
}

// script lets take read the script that pg_restore writes of one entry. When take
// fails, pg_restore is ended, and the error is that of take.
func (c client) script(ctx context.Context, dump, scratch string, e tocEntry, options []string, take func(io.Reader) error) error {
	list, err := os.CreateTemp(scratch, "entry")
	if err != nil {
		return err
	}
	defer os.Remove(list.Name()) //nolint:errcheck // in the scratch folder, which is removed
	_, err = fmt.Fprintf(list, "%s; 0 0\n", e.id)
	if err := errors.Join(err, list.Close()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := c.command(ctx, "pg_restore")
	if err != nil {
		return err
	}
	from.Args = slices.Concat([]string{from.Path, "--file=-", "--use-list=" + list.Name()}, options, []string{dump})
	var stderr tail
	from.Stderr = &stderr
	out, err := from.StdoutPipe()
	if err != nil {
		return err
	}
	if err := from.Start(); err != nil {
		return err
	}
	if err := take(out); err != nil {
		cancel() // lets it end, since nobody reads any more
		_ = from.Wait()
		return err
	}
	_, _ = io.Copy(io.Discard, out)
	if err := from.Wait(); err != nil {
		return toolError("pg_restore", err, stderr.String())
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
			if err := c.retry(ctx, dump, scratch, toc[place[f.id]], path, options); err != nil {
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
