package project

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// write writes a thing that was prepared.
func (t *tree) write(x *thing) error {
	switch {
	case x.name == "" && x.missing != nil:
		return x.missing()
	case x.name == "":
		return t.vanished(x.names[0])
	case x.err != nil:
		return t.trouble(x.name, x.err)
	}
	if x.found != nil {
		if err := x.found(x.name); err != nil {
			return err
		}
	}
	if len(x.trimmed) > 0 {
		if err := t.t.note(attributesSkipped, x.name, "The extended attributes %s of %s are too large, or have no plain names; they were left out.", strings.Join(x.trimmed, ", "), x.name); err != nil {
			return err
		}
	}
	err := t.writeEntry(x)
	switch {
	case errors.Is(err, archive.ErrTwice):
		return nil // another row of the table, or a folder that changed while it was listed, has led there before
	case errors.Is(err, archive.ErrUnsafe) && x.entry.Kind == archive.Link && archive.CheckLink(x.entry.Name, x.entry.Target) != nil:
		return t.t.note(linkSkipped, x.name, "%s is a symbolic link to %q, which is not inside of the part; it was left out.", x.name, x.entry.Target)
	case errors.Is(err, archive.ErrUnsafe):
		return t.t.note(nameSkipped, x.name, "%s was left out, because no archive can hold it: %v.", x.name, err)
	}
	return err
}

func (t *tree) writeEntry(x *thing) error {
	switch x.entry.Kind {
	case archive.File:
		return t.writeFile(x)
	case archive.Dir, archive.Link:
		return t.w.Add(x.entry, nil)
	}
	return t.t.note(fileSkipped, x.name, "%s is a socket, pipe or device and was left out.", x.name)
}

func (t *tree) writeFile(x *thing) error {
	content := io.Reader(bytes.NewReader(x.small))
	if x.file != nil {
		content = reading{x.file}
	}
	err := t.w.Add(x.entry, content)
	var bad readError
	switch {
	case errors.Is(err, archive.ErrShort):
		return t.t.note(fileChanged, x.name, "%s became shorter while it was read; it is filled up with zeros.", x.name)
	case errors.As(err, &bad):
		return t.trouble(x.name, bad.error)
	}
	return err
}

// writeDir writes a folder at once.
func (t *tree) writeDir(name string) error {
	x := thing{names: []string{name}}
	defer x.close()
	x.err = t.prepare(&x)
	return t.write(&x)
}

// reading marks errors of the file, to tell them from those of the archive.
type reading struct{ io.Reader }

type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func (r reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = readError{err}
	}
	return n, err
}
