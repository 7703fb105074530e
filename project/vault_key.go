package project

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// keyComes reports whether the swap brings another root key than the server has now:
// until then no secret of the backup can be decrypted.
func (d *databaseRestoration) keyComes(ctx context.Context) bool {
	key, err := os.ReadFile(filepath.Join(d.t.Scratch, keyFile))
	if err != nil || d.t.Foreign || d.p.RootKey == nil {
		return false
	}
	at := d.p.RootKey(ctx)
	if at == "" {
		return false
	}
	now, err := os.ReadFile(at)
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
	at := ""
	if d.p.RootKey != nil {
		at = d.p.RootKey(ctx)
	}
	if at == "" {
		d.t.warn(Database, "vault_key_by_hand", "", "The place of the pgsodium root key was not found; put database/pgsodium_root.key of the archive there if the vault's secrets cannot be read.")
		return nil
	}
	old, err := os.ReadFile(at)
	if err == nil && string(old) == string(key) {
		return nil
	}
	if err := swapKey(at, at+"."+d.t.keptName("key"), key); err != nil {
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

// swapKey keeps what lies at a path and puts a key there, for the same owner. What is
// there is replaced only when its copy is safe. It may be repeated after a crash.
func swapKey(at, kept string, key []byte) error {
	fi, err := os.Stat(at)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(kept); errors.Is(err, os.ErrNotExist) {
		old, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		if err := writeDurably(kept+".new", old, fi); err != nil {
			return err
		}
		if err := os.Rename(kept+".new", kept); err != nil {
			return err
		}
	}
	next := at + ".holdfast-new"
	if err := writeDurably(next, key, fi); err != nil {
		return err
	}
	return os.Rename(next, at)
}

// writeDurably writes a file for the owner of another one, and onto the disk.
func writeDurably(name string, content []byte, like os.FileInfo) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return sameOwner(name, like)
}

// dropKey removes the key that installKey has kept: it opens every secret that was
// encrypted before the restore.
func (p *DatabasePart) dropKey(ctx context.Context, t Target) error {
	if p.RootKey == nil {
		return nil
	}
	at := p.RootKey(ctx)
	if at == "" {
		return nil
	}
	kept := at + "." + t.keptName("key")
	for _, name := range []string{kept, kept + ".new"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// returnKey puts a key back that installKey has replaced.
func (p *DatabasePart) returnKey(ctx context.Context, t Target) error {
	if p.RootKey == nil {
		return nil
	}
	at := p.RootKey(ctx)
	if at == "" {
		return nil
	}
	err := os.Rename(at+"."+t.keptName("key"), at)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
