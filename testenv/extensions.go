package testenv

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// install gives the server a place of its own, in which it finds the extensions of
// Debian and the stand-ins for those that Debian lacks. A PostgreSQL server looks for
// its files relative to its program, so that one is a copy and the rest are links.
func (p *Postgres) install() error {
	if err := copyFile(filepath.Join(p.Bin, "postgres"), p.binary(), 0o755); err != nil {
		return err
	}
	root, major := filepath.Join(p.Bin, "../../../../.."), strconv.Itoa(p.Major)
	share := filepath.Join("usr/share/postgresql", major)
	if err := linkAll(filepath.Join(root, share), filepath.Join(p.dir, share), "extension"); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(p.Bin, "../lib"), filepath.Join(p.dir, "usr/lib/postgresql", major, "lib")); err != nil {
		return err
	}
	if err := linkAll(filepath.Join(root, share, "extension"), p.ExtensionDir()); err != nil {
		return err
	}
	if err := p.nameVersions(); err != nil {
		return err
	}
	return errors.Join(p.addExtensions("fixture/extensions"), p.writeRootKey())
}

// binary returns the server's program.
func (p *Postgres) binary() string {
	return filepath.Join(p.dir, "usr/lib/postgresql", strconv.Itoa(p.Major), "bin/postgres")
}

// ExtensionDir returns the folder of this server's extensions. Others do not see
// what a test adds or removes there.
func (p *Postgres) ExtensionDir() string {
	return filepath.Join(p.dir, "usr/share/postgresql", strconv.Itoa(p.Major), "extension")
}

// nameVersions gives postgis-3 and its like their usual names, as Debian's packages do
// when they are configured.
func (p *Postgres) nameVersions() error {
	files, err := filepath.Glob(filepath.Join(p.ExtensionDir(), "*-3.control"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Symlink(f, strings.TrimSuffix(f, "-3.control")+".control"); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// addExtensions adds extensions of the fixture, in place of others of the same name.
func (p *Postgres) addExtensions(folder string) error {
	files, err := fixture.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		to := filepath.Join(p.ExtensionDir(), f.Name())
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content, err := fixture.ReadFile(path.Join(folder, f.Name()))
		if err != nil {
			return err
		}
		if err := writeFile(to, string(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// setVersion says which version of an extension the server makes if none is named.
func (p *Postgres) setVersion(extension, version string) error {
	file := filepath.Join(p.ExtensionDir(), extension+".control")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "default_version") {
			lines[i] = "default_version = '" + version + "'"
		}
	}
	return writeFile(file, strings.Join(lines, "\n"), 0o644)
}

// rootKey of the vault, the same on all servers unless a test changes its file.
const rootKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

// RootKeyFile returns the file with the vault's root key, which the server reads for
// each secret.
func (p *Postgres) RootKeyFile() string { return filepath.Join(p.dir, "pgsodium_root.key") }

func (p *Postgres) writeRootKey() error {
	if err := writeFile(p.RootKeyFile(), rootKey, 0o600); err != nil || os.Getuid() != 0 {
		return err
	}
	return os.Chown(p.RootKeyFile(), nobody, nobody)
}

// linkAll makes a folder with links to what is in another one, apart from some names.
func linkAll(from, to string, but ...string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(but) > 0 && e.Name() == but[0] {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, string(b), mode)
}
