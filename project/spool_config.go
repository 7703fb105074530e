package project

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// SpoolConfig writes what an archive has of the configuration into a folder, made anew
// and for this user only: links and the files that can be compose files or files that
// these name. A restore looks there what its files are going to mean. Names are those
// below the root of the configuration.
func SpoolConfig(r *archive.Reader, dir string) (err error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is pending
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		name := strings.TrimPrefix(e.Name, Config+"/")
		if err == nil && e.Kind != archive.Dir {
			err = root.MkdirAll(path.Dir(name), 0o700)
		}
		switch {
		case err != nil:
		case e.Kind == archive.Link:
			err = root.Symlink(e.Target, name)
		case e.Kind == archive.File && e.Size <= maxCompose:
			err = spoolFile(root, name, r)
		}
		if err != nil {
			return err
		}
	}
}

func spoolFile(root *os.Root, name string, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
