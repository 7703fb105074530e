package project

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// keyComes reports whether the swap brings another root key than the server has now:
// until then no secret of the backup can be decrypted.
func (d *databaseRestoration) keyComes(ctx context.Context) bool {
	key, err := os.ReadFile(filepath.Join(d.t.Scratch, keyFile))
	if err != nil || d.t.Foreign || d.p.RootKey == nil {
		return false
	}
	at := d.p.RootKey(ctx)
	if at.Path == "" {
		return false
	}
	now, err := at.Read()
	return err == nil && string(now) != string(key)
}

// installKey puts the root key of the vault where the server reads it, if it
// differs from what lies there.
func (d *databaseRestoration) installKey(ctx context.Context) error {
	key, err := os.ReadFile(filepath.Join(d.t.Scratch, keyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || d.t.Foreign {
		return err
	}
	var at Place
	if d.p.RootKey != nil {
		at = d.p.RootKey(ctx)
	}
	if at.Path == "" {
		d.t.warn(Database, "vault_key_by_hand", "", "The place of the pgsodium root key was not found; put database/pgsodium_root.key of the archive there if the vault's secrets cannot be read.")
		return nil
	}
	old, err := at.Read()
	if err == nil && string(old) == string(key) {
		return nil
	}
	if err == nil {
		err = d.t.keepKey(old)
	}
	if err == nil {
		err = replaceKey(at, key)
	}
	if err != nil {
		return fail(err, "The pgsodium root key could not be put in its place.")
	}
	d.t.warn(Database, "vault_key_replaced", "", "The pgsodium root key was replaced; restart the database so that it reads it.")
	return d.checkSecrets(ctx)
}

// checkSecrets names the secrets that could be decrypted at the backup and cannot be
// with the key that was put in its place: most servers read it when they start.
func (d *databaseRestoration) checkSecrets(ctx context.Context) error {
	var err error
	if d.t.Prints, err = os.ReadFile(filepath.Join(d.t.Scratch, fingerprintFile)); err != nil {
		return err
	}
	s, err := Open(ctx, d.t.Server)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // it only read
	if err := d.plan(s.conn.Config().Database); err != nil {
		return err
	}
	got := newFingerprint(s)
	if err := got.vault(ctx, s); err != nil {
		return wrapSQL(err)
	}
	c := comparisons[slices.IndexFunc(comparisons, func(c comparison) bool { return c.list == "vault_secrets" })]
	differences, err := c.compare(d.main().prints, got)
	if err != nil {
		return err
	}
	var names []string
	for _, x := range differences {
		names = append(names, x.name)
	}
	if len(names) > 0 {
		d.t.warn(Database, "secrets_undecrypted", "", "These secrets of the vault cannot be decrypted until the database server is restarted: "+few(names)+".")
	}
	return nil
}

// replacedKey is where a restore keeps the root key that it has replaced: not beside the
// key, where others may write.
func (t Target) replacedKey() string { return t.Scratch + ".root_key" }

// keepKey keeps a key that is about to be replaced. What an earlier try has kept stays.
func (t Target) keepKey(key []byte) error {
	name := t.replacedKey()
	if exists(name) {
		return nil
	}
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(name+".new", name), syncDir(filepath.Dir(name)))
}

// replaceKey puts a key in the place of another one, for the same owner.
func replaceKey(at Place, key []byte) error {
	dir, base, err := at.parent()
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	st, err := statBeneath(dir, base)
	if err != nil {
		return err
	}
	if st == nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return &os.PathError{Op: "replace", Path: at.Path, Err: os.ErrNotExist}
	}
	next := base + ".holdfast-new"
	_ = unix.Unlinkat(int(dir.Fd()), next, 0) // of a try that was cut off
	f, err := createBeneath(dir, next)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err == nil && os.Getuid() == 0 {
		err = f.Chown(int(st.Uid), int(st.Gid))
	}
	if err == nil {
		err = f.Chmod(os.FileMode(st.Mode & 0o777))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(unix.Renameat(int(dir.Fd()), next, int(dir.Fd()), base), dir.Sync())
}

// returnKey puts a key back that installKey has replaced.
func (p *DatabasePart) returnKey(ctx context.Context, t Target) error {
	key, err := os.ReadFile(t.replacedKey())
	if errors.Is(err, os.ErrNotExist) || p.RootKey == nil {
		return nil
	}
	if err != nil {
		return err
	}
	at := p.RootKey(ctx)
	if at.Path == "" {
		return fail(nil, "The place of the pgsodium root key was not found; the key that the restore has replaced is in data_dir.")
	}
	if err := replaceKey(at, key); err != nil {
		return fail(err, "The pgsodium root key that the restore has replaced could not be put back.")
	}
	return nil
}

// dropKey removes a key that was replaced: it opens every secret that was encrypted
// before the restore.
func (t Target) dropKey() error {
	for _, name := range []string{t.replacedKey(), t.replacedKey() + ".new"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
