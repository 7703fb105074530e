package pgcustom_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/holdfast-dev/holdfast/project/internal/pgcustom"
	"github.com/holdfast-dev/holdfast/testenv"
)

const tables = `CREATE SCHEMA "odd ""name";
CREATE TABLE "odd ""name"."Rows;" AS SELECT n AS id, md5(n::text) AS "va lue" FROM generate_series(1, 20000) n;
CREATE TABLE wide AS SELECT n AS id, repeat(md5(n::text), n * 2500) AS v FROM generate_series(1, 4) n;
CREATE TABLE nothing (id int); CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES;
CREATE TABLE parent (id int) PARTITION BY RANGE (id); CREATE TABLE child PARTITION OF parent DEFAULT; INSERT INTO parent VALUES (1);
CREATE SEQUENCE "Called" MINVALUE -9 START -7; SELECT nextval('"Called"'); CREATE SEQUENCE fresh START 5;
SELECT lo_from_bytea(4000000000, decode(repeat('00ff', 50000), 'hex')), lo_from_bytea(0, 'small'), lo_from_bytea(0, '');`

// run runs a tool and returns its output.
func run(tb testing.TB, stdin io.Reader, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v: %s", name, err, stderr.String())
	}
	return out
}

// script returns what pg_restore makes of a dump, without the words that are new each time.
func script(tb testing.TB, bin string, dump []byte) string {
	tb.Helper()
	var keep []string
	for line := range strings.Lines(string(run(tb, bytes.NewReader(dump), bin+"/pg_restore", "--file=-"))) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

func join(tb testing.TB, dump []byte) ([]byte, *pgcustom.Dump) {
	tb.Helper()
	var out bytes.Buffer
	d, err := pgcustom.Copy(&out, iotest.HalfReader(bytes.NewReader(dump)))
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes(), d
}

func TestCopy(t *testing.T) {
	for _, major := range []int{15, 17} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pg := testenv.NewPostgres(t, major)
			if err := pg.Exec(t.Context(), "postgres", tables); err != nil {
				t.Fatal(err)
			}
			dump := run(t, nil, pg.Bin+"/pg_dump", "-Fc", "-Z0", pg.URL("postgres"))
			joined, d := join(t, dump)
			if got, want := script(t, pg.Bin, joined), script(t, pg.Bin, dump); got != want {
				t.Errorf("pg_restore makes %d bytes of it, not %d", len(got), len(want))
			}
			if d == nil || d.Encoding != "SET client_encoding = 'UTF8';\n" {
				t.Fatalf("got %+v", d)
			}
			if saved := len(dump) - len(joined); saved < 20000*5-100 {
				t.Errorf("only %d bytes fewer", saved)
			}
			for _, table := range d.Tables {
				rows, err := io.ReadAll(iotest.OneByteReader(table.Rows(bytes.NewReader(joined))))
				if err != nil {
					t.Errorf("%s: %v", table.Name, err)
				}
				want := run(t, nil, pg.Bin+"/psql", "-X", "-d", pg.URL("postgres"), "-c", strings.TrimSuffix(table.Copy, "FROM stdin")+"TO stdout")
				if table.Empty() != (len(want) == 0) {
					t.Errorf("%s: empty is %v", table.Name, table.Empty())
				}
				if rows := int64(bytes.Count(want, []byte("\n"))); table.Count != rows {
					t.Errorf("%s: %d rows, not %d", table.Name, table.Count, rows)
				}
				want = append(want, "\\.\n\n\n"...)
				if !bytes.Equal(rows, want) || int64(len(rows)) != table.Size {
					t.Errorf("%s.%s (%s): %d bytes of rows, not %d", table.Schema, table.Name, table.Copy, len(rows), len(want))
				}
				if !table.Made {
					t.Errorf("%s is said to be an extension's", table.Name)
				}
			}
			if want := []pgcustom.Sequence{{"public", "Called", -7, true}, {"public", "fresh", 5, false}}; !slices.Equal(d.Sequences, want) {
				t.Errorf("sequences %+v, want %+v", d.Sequences, want)
			}
			if len(d.Tables) != 5 || d.Tables[0].Schema != `odd "name` || d.Tables[0].Name != "Rows;" {
				t.Errorf("tables %+v", d.Tables)
			}
			again, _ := join(t, joined)
			if !bytes.Equal(again, joined) {
				t.Error("what was joined is joined to something else")
			}
			if major == 15 {
				asWritten(t, dump)
			}
			cutOff(t, joined)
			unknown(t, pg, dump)
		})
	}
}

// asWritten makes a dump of version 1.15 out of one of 1.14, since there is no
// PostgreSQL 16 here: the level of the compression has become its name.
func asWritten(t *testing.T, dump []byte) {
	t.Helper()
	newer, err := testenv.PostgresBin(17)
	if err != nil {
		t.Fatal(err)
	}
	dump = bytes.Join([][]byte{dump[:6], {15}, dump[7:11], {0}, dump[16:]}, nil)
	joined, d := join(t, dump)
	if d == nil || len(d.Tables) != 5 || script(t, newer, joined) != script(t, newer, dump) {
		t.Errorf("version 1.15: %+v", d)
	}
}

// cutOff cuts a dump everywhere in its contents, and here and there in its rows.
func cutOff(t *testing.T, dump []byte) {
	t.Helper()
	for n := 0; n < len(dump)-1; n += 1 + n/100 {
		if _, err := pgcustom.Copy(io.Discard, bytes.NewReader(dump[:n])); !errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && !between(dump, n) {
			t.Errorf("cut off after %d of %d bytes: %v", n, len(dump), err)
		}
	}
}

// between reports whether a dump may end at n: after a block.
func between(dump []byte, n int) bool {
	return bytes.HasSuffix(dump[:n], make([]byte, 5)) && (dump[n] == 1 || dump[n] == 3)
}

// unknown looks at dumps whose rows only pg_restore finds, and at what is no dump.
func unknown(t *testing.T, pg *testenv.Postgres, dump []byte) {
	t.Helper()
	future := bytes.Clone(dump)
	future[6] = 99
	squeezed := run(t, nil, pg.Bin+"/pg_dump", "-Fc", pg.URL("postgres"))
	for name, b := range map[string][]byte{"a later version": future, "a compressed dump": squeezed} {
		if out, d := join(t, b); d != nil || !bytes.Equal(out, b) {
			t.Errorf("%s is not copied as it is: %+v", name, d)
		}
	}
	bad := bytes.Clone(dump)
	bad[bytes.Index(bad, []byte("1\t"+"c4ca4238a0b923820dcc509a6f75849b\n"))-11] = 7
	for name, b := range map[string][]byte{"a script": run(t, nil, pg.Bin+"/pg_dump", pg.URL("postgres")), "a block of another kind": bad} {
		if _, err := pgcustom.Copy(io.Discard, bytes.NewReader(b)); !errors.Is(err, pgcustom.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsOfOthers(t *testing.T) {
	pg := testenv.NewPostgres(t, 17)
	dump := run(t, nil, pg.Bin+"/pg_dump", "-Fc", "-Z0", pg.URL("postgres"))
	broken := errors.New("broken")
	if _, err := pgcustom.Copy(io.Discard, io.MultiReader(bytes.NewReader(dump[:200]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("reading: %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if _, err := pgcustom.Copy(full, bytes.NewReader(dump)); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("writing: %v", err)
	}
}

// FuzzCopy gives Copy dumps with errors in them. Whatever it takes it must have
// copied, and its rows must be found again or be refused.
func FuzzCopy(f *testing.F) {
	pg, err := filepath.Glob("testdata/*.dump")
	if err != nil || len(pg) == 0 {
		f.Fatalf("no dumps to begin with: %v", err)
	}
	for _, name := range pg {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		d, err := pgcustom.Copy(&out, bytes.NewReader(b))
		if err != nil {
			return
		}
		if d == nil {
			if !bytes.Equal(out.Bytes(), b) {
				t.Error("an unknown dump was changed")
			}
			return
		}
		if out.Len() > len(b) {
			t.Errorf("%d bytes became %d", len(b), out.Len())
		}
		for _, table := range d.Tables {
			n, err := io.Copy(io.Discard, table.Rows(bytes.NewReader(out.Bytes())))
			if n != table.Size && err == nil {
				t.Errorf("%d bytes of rows, not %d", n, table.Size)
			}
		}
	})
}
