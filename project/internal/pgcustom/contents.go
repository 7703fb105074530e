package pgcustom

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	magic     = "PGDMP"
	headBytes = len(magic) + 6 // version, sizes, format
	custom    = 1              // the format
)

// head copies the head of a dump and reports whether what follows is known.
func (c *copier) head() (known bool, err error) {
	b, err := c.in.Peek(headBytes)
	if err != nil {
		return false, err
	}
	if !bytes.HasPrefix(b, []byte(magic)) {
		return false, fmt.Errorf("%w: it begins with %q", ErrFormat, b[:len(magic)])
	}
	major, minor, ints, format := b[5], b[6], b[8], b[10]
	c.offsetBytes = int(b[9])
	known = major == 1 && minor >= 14 && minor <= 16 && ints+1 == intBytes && format == custom
	if err := c.copyN(headBytes); err != nil || !known {
		return known, err
	}
	c.relkind = minor >= 16
	if minor == 14 {
		level, err := c.int()
		return level == 0, err
	}
	algorithm, err := c.in.Peek(1)
	if err != nil {
		return false, err
	}
	none := algorithm[0] == 0
	return none, c.copyN(1)
}

// setval is the end of the statement that sets a sequence.
var setval = regexp.MustCompile(`, (-?\d+), (true|false)\);\s*$`)

// contents copies the table of contents.
func (c *copier) contents() (*Dump, error) {
	c.chunk = make([]byte, intBytes, chunkSize)
	for range 7 { // the time
		if _, err := c.int(); err != nil {
			return nil, err
		}
	}
	if err := c.texts(nil, nil, nil); err != nil { // the database, the versions of the server and of pg_dump
		return nil, err
	}
	n, err := c.int()
	if err != nil {
		return nil, err
	}
	c.tables = map[int]*Table{}
	d, made := &Dump{}, map[int]bool{}
	for range n {
		if err := c.entry(d, made); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// entry copies one entry. made are the ids of the tables that the dump makes, which
// come before their rows.
func (c *copier) entry(d *Dump, made map[int]bool) error {
	id, err := c.int()
	if err != nil {
		return err
	}
	var kind, statement string
	t := &Table{ID: id}
	if _, err := c.int(); err != nil { // whether it has data
		return err
	}
	if err := c.texts(nil, nil, &t.Name, &kind); err != nil { // after the oids of the catalog and of the object
		return err
	}
	if _, err := c.int(); err != nil { // the section
		return err
	}
	var definition *string // may be long
	var set string
	switch kind {
	case "ENCODING":
		definition = &d.Encoding
	case "SEQUENCE SET":
		definition = &set
	}
	if err := c.texts(definition, nil, &statement, &t.Schema, nil, nil); err != nil { // between: how it is dropped; last: tablespace, access method
		return err
	}
	if c.relkind {
		if _, err := c.int(); err != nil {
			return err
		}
	}
	var owner string
	if err := c.texts(&owner, nil); err != nil { // then whether there are oids
		return err
	}
	d.Entries = append(d.Entries, Entry{id, kind, t.Schema, t.Name, owner})
	if t.Made, err = c.needs(made); err != nil {
		return err
	}
	into, copies := strings.CutSuffix(statement, " FROM stdin;\n")
	switch {
	case kind == "TABLE":
		made[id] = true
	case kind == "SEQUENCE SET":
		if m := setval.FindStringSubmatch(set); m != nil {
			last, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%w: %q is no number", ErrFormat, m[1])
			}
			d.Sequences = append(d.Sequences, Sequence{t.Schema, t.Name, last, m[2] == "true"})
		}
	case kind == "TABLE DATA" && copies && strings.HasPrefix(into, "COPY "):
		t.Copy = into + " FROM stdin"
		c.tables[id] = t
	}
	return c.copyN(1 + c.offsetBytes) // where the data begins, unknown in a stream
}

// texts reads texts one after another. Those without a place are of no interest.
func (c *copier) texts(places ...*string) (err error) {
	for _, p := range places {
		if p == nil {
			err = c.skip()
		} else {
			*p, _, err = c.text()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// needs reads on which entries one depends, and reports whether one of them is a
// table that the dump makes.
func (c *copier) needs(made map[int]bool) (bool, error) {
	found := false
	for {
		id, there, err := c.number()
		if err != nil || !there {
			return found, err
		}
		found = found || made[id]
	}
}
