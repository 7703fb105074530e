package project

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What pg_restore writes as a script holds text of the archive: names, definitions, rows.
// It never goes to psql, which would take a line that begins with a backslash for a
// command of its own, such as one that runs a shell. The server is sent the statements,
// and rows by the protocol of COPY, and nobody else reads them.

// step is a part of a script: statements, and then the rows that a COPY takes.
type step struct {
	SQL  []byte `json:"sql,omitempty"`
	Copy string `json:"copy,omitempty"` // COPY … FROM stdin, without a semicolon
	Rows []byte `json:"rows,omitempty"` // in the text format, without an end marker
}

// statement makes a step of statements.
func statement(format string, args ...any) step {
	return step{SQL: fmt.Appendf(nil, format, args...)}
}

// runSteps runs steps as one transaction.
func runSteps(ctx context.Context, conn *pgx.Conn, steps []step) error {
	s := session{conn}
	if err := s.statements(ctx, []byte("BEGIN")); err != nil {
		return err
	}
	for _, x := range steps {
		err := s.statements(ctx, x.SQL)
		if err == nil && x.Copy != "" {
			err = s.rows(ctx, x.Copy, bytes.NewReader(x.Rows))
		}
		if err != nil {
			return errors.Join(err, s.statements(context.WithoutCancel(ctx), []byte("ROLLBACK")))
		}
	}
	return s.statements(ctx, []byte("COMMIT"))
}

// scriptReader takes in what a script consists of, in its order.
type scriptReader interface {
	statements(ctx context.Context, sql []byte) error
	rows(ctx context.Context, statement string, rows io.Reader) error
}

// session runs a script in a session.
type session struct{ conn *pgx.Conn }

func (s session) statements(ctx context.Context, sql []byte) error {
	if len(bytes.TrimSpace(sql)) == 0 {
		return nil
	}
	_, err := s.conn.PgConn().Exec(ctx, string(sql)).ReadAll()
	return err
}

func (s session) rows(ctx context.Context, statement string, rows io.Reader) error {
	_, err := s.conn.PgConn().CopyFrom(ctx, rows, statement)
	return err
}

// collector keeps a script as steps, up to a number of bytes.
type collector struct {
	steps []step
	left  int64
}

// errTooLong is returned by a collector for more than it has room for.
var errTooLong = errors.New("the script is too long")

func (c *collector) statements(_ context.Context, sql []byte) error {
	if c.left -= int64(len(sql)); c.left < 0 {
		return errTooLong
	}
	c.steps = append(c.steps, step{SQL: bytes.Clone(sql)})
	return nil
}

func (c *collector) rows(_ context.Context, statement string, rows io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(rows, c.left+1))
	if c.left -= int64(len(b)); c.left < 0 {
		return errTooLong
	}
	c.steps = append(c.steps, step{Copy: statement, Rows: b})
	return err
}

const (
	maxStatements = 512 << 20 // of an entry without rows
	batchSize     = 1 << 20   // of statements about large objects that are sent together
)

// readScript reads the script that pg_restore writes of one entry. after is what comes
// instead of the statement that clears the search_path.
func readScript(ctx context.Context, script io.Reader, e tocEntry, after string, to scriptReader) error {
	r := bufio.NewReaderSize(script, 64<<10)
	if err := readHead(ctx, r, after, to); err != nil {
		return err
	}
	switch {
	case e.kind == "TABLE DATA":
		return readRows(ctx, r, to)
	case strings.HasPrefix(e.kind, "BLOB"):
		return readBatches(ctx, r, to)
	}
	return readStatements(ctx, r, to)
}

// readHead reads up to the statement that clears the search_path: settings, and the
// encoding of what follows, which is why they go first.
func readHead(ctx context.Context, r *bufio.Reader, after string, to scriptReader) error {
	var head []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text := strings.TrimRight(string(line), "\n")
		if text == emptyPath || err != nil {
			return errors.Join(to.statements(ctx, head), to.statements(ctx, []byte(after)))
		}
		if !strings.HasPrefix(text, `\restrict `) { // for psql, from later versions of pg_restore
			head = append(head, line...)
		}
		if len(head) > maxStatements {
			return errTooLong
		}
	}
}

// readStatements reads statements to the end of the script.
func readStatements(ctx context.Context, r io.Reader, to scriptReader) error {
	all, err := io.ReadAll(io.LimitReader(r, maxStatements+1))
	switch {
	case err != nil:
		return err
	case len(all) > maxStatements:
		return errTooLong
	}
	return to.statements(ctx, withoutUnrestrict(all))
}

// withoutUnrestrict takes the last line off that later versions of pg_restore write for
// psql.
func withoutUnrestrict(sql []byte) []byte {
	trimmed := bytes.TrimRight(sql, "\n")
	if i := bytes.LastIndexByte(trimmed, '\n'); bytes.HasPrefix(trimmed[i+1:], []byte(`\unrestrict `)) {
		return trimmed[:i+1]
	}
	return sql
}

// readBatches reads statements that stand on a line each, as those about large objects
// do, and hands them on some at a time.
func readBatches(ctx context.Context, r *bufio.Reader, to scriptReader) error {
	var batch []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		batch = append(batch, line...)
		if err != nil {
			return to.statements(ctx, withoutUnrestrict(batch))
		}
		if len(batch) > batchSize && bytes.HasSuffix(line, []byte(";\n")) {
			if err := to.statements(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
}

// readRows reads the rows of a table: statements, then a COPY with its rows.
func readRows(ctx context.Context, r *bufio.Reader, to scriptReader) error {
	var before []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		copies, ok := strings.CutSuffix(strings.TrimRight(string(line), "\n"), " FROM stdin;")
		if ok && strings.HasPrefix(copies, "COPY ") {
			if err := to.statements(ctx, before); err != nil {
				return err
			}
			if err := to.rows(ctx, copies+" FROM stdin", &copyRows{r: r, start: true}); err != nil {
				return err
			}
			return readStatements(ctx, r, to)
		}
		if before = append(before, line...); len(before) > maxStatements {
			return errTooLong
		}
		if err != nil { // no COPY: the rows are INSERTs
			return to.statements(ctx, withoutUnrestrict(before))
		}
	}
}

// copyRows reads rows up to their end marker, which it takes as well.
type copyRows struct {
	r     *bufio.Reader
	start bool   // at the start of a line
	rest  []byte // of r's buffer, not handed on yet
	ended bool
}

// Read implements io.Reader.
func (c *copyRows) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		line, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		if c.ended = c.start && string(line) == "\\.\n"; c.ended {
			continue
		}
		c.rest, c.start = line, err == nil
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// scriptError makes an error of what a script met. What says something of the server
// and nothing of the script is one that passes.
func scriptError(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &pg) && !endsConnection(pg.Code) && !passes(pg.Code) && !ofServer.MatchString(pg.Message):
		return errors.New(serverSaid(err))
	case errors.As(err, &pg):
		return lost(err, "An entry of the dump could not be restored: %s", said(pg))
	case errors.Is(err, errTooLong):
		return err
	}
	return lost(err, "An entry of the dump could not be restored: the connection to the database broke.")
}
