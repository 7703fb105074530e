package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/holdfast-dev/holdfast/archive"
)

// forge writes an archive anew, with right sums, in which every function says something
// else. It is made as large as the honest one. Parts that keep does not name are left out.
func forge(t *testing.T, honest []byte, keep ...string) []byte {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(honest))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, r.Header())
	if err != nil {
		t.Fatal(err)
	}
	for part := ""; ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		first, _, below := strings.Cut(e.Name, "/")
		if !slices.Contains(keep, first) {
			continue
		}
		if first != part {
			part = first
			err = w.Begin(part)
		}
		data := []byte("forged")
		if e.Kind == archive.File {
			e.Size = int64(len(data))
		}
		if below {
			err = errors.Join(err, w.Add(e, bytes.NewReader(data)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const trailer = 34
	end := b.Len() - trailer
	return slices.Concat(b.Bytes()[:end], make([]byte, max(0, len(honest)-b.Len())), b.Bytes()[end:])
}

// TestForgedArchives puts other archives in the place of one, as somebody can who may
// write to the destination. None of them is restored, found good or handed out whole.
func TestForgedArchives(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sh(t, dir, "mkdir -p functions conf && head -c 20000 /dev/urandom > functions/ballast && printf '%s\n' "+id.String()+" > key")
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf("{id: p, functions: {path: %s/functions}, config: {root: %s/conf, include: ['**']}}", dir, dir),
		fmt.Sprintf("encryption: {recipients: [%s], identity_file: %s/key}\n", id.Recipient(), dir)))
	d.ready()
	backUp := func(content, body string) (id, path string) {
		sh(t, dir, "printf "+content+" > functions/index.ts; printf A="+content+" > conf/.env")
		a := d.call("POST", "/backups", body)
		d.want(a, 201)
		return a.backup()["id"].(string), a.backup()["path"].(string)
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	_, oldPath := backUp("old", full)
	plain, plainPath := backUp("honest", full)
	secret, secretPath := backUp("honest", `{"projectId":"p","encrypt":true}`)
	sh(t, dir, "printf live > functions/index.ts; printf A=live > conf/.env")
	honest, hidden := read(plainPath), read(secretPath)
	var again bytes.Buffer
	to, err := age.Encrypt(&again, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	_, err = to.Write(forge(t, honest, "functions", "config"))
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	for _, attack := range []struct {
		name, id, path string
		object         []byte
	}{
		{"edited, with sums made anew: other code would run", plain, plainPath, forge(t, honest, "functions", "config")},
		{"cut off and ended anew: a part would be missing in silence", plain, plainPath, forge(t, honest, "functions")},
		{"an older archive of the project: mended holes would be open again", plain, plainPath, read(oldPath)},
		{"an encrypted archive: another kind of object", plain, plainPath, hidden},
		{"the last bytes are gone", plain, plainPath, honest[:len(honest)-10]},
		{"bytes behind the end", plain, plainPath, append(bytes.Clone(honest), "tail"...)},
		{"one bit of the header is another", plain, plainPath, append(append(bytes.Clone(honest[:99]), honest[99]^1), honest[100:]...)},
		{"encrypted again with the public recipient: other code would run", secret, secretPath, again.Bytes()},
		{"a plain archive in the place of an encrypted one", secret, secretPath, honest},
		{"a damaged stanza", secret, secretPath, append(append(bytes.Clone(hidden[:90]), hidden[90]^1), hidden[91:]...)},
	} {
		t.Run(attack.name, func(t *testing.T) {
			whole := read(attack.path)
			if err := os.WriteFile(attack.path, attack.object, 0o600); err != nil {
				t.Fatal(err)
			}
			attacked(t, d, "/backups/"+attack.id, whole)
			for name, want := range map[string]string{"functions/index.ts": "live", "conf/.env": "A=live"} {
				if got := read(filepath.Join(dir, name)); string(got) != want {
					t.Errorf("%s is %q", name, got)
				}
			}
			if err := os.WriteFile(attack.path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, id := range []string{plain, secret} {
		d.want(d.call("POST", "/backups/"+id+"/restore", `{"safetyBackup":false}`), 200)
		if got := read(filepath.Join(dir, "functions/index.ts")); string(got) != "honest" {
			t.Errorf("after the restore: %q", got)
		}
		sh(t, dir, "printf live > functions/index.ts")
	}
}

// attacked asks for everything that reads the archive of a backup.
func attacked(t *testing.T, d *daemon, backup string, whole []byte) {
	t.Helper()
	for _, body := range []string{`{"safetyBackup":false}`, `{"safetyBackup":false,"forceRestore":true}`, `{"restoreTypes":["functions"]}`, `{"restoreTypes":["config"],"dryRun":true}`, `{"dryRun":true}`} {
		if strings.Contains(body, "restoreTypes") && strings.Contains(t.Name(), "header") {
			continue // a part alone is not about the header
		}
		a := d.call("POST", backup+"/restore", body)
		if plan := strings.Contains(body, "dryRun") && strings.Contains(a.body, `"wouldSucceed":false`); plan {
			continue // found while the parts were read
		}
		if a.status != 500 || !strings.Contains(a.body, "The archive") || !strings.Contains(a.body, "The project is unchanged") {
			t.Errorf("restore %s: %d %s", body, a.status, a.body)
		}
	}
	if a := d.call("POST", backup+"/verify", ""); a.status != 200 || !strings.Contains(a.body, `"status":"failed"`) {
		t.Errorf("verify: %d %s", a.status, a.body)
	}
	if a := d.call("GET", backup, ""); !strings.Contains(a.body, `"verified":false`) {
		t.Errorf("the backup: %s", a.body)
	}
	if a, err := d.try("GET", backup+"/download", ""); err == nil && a.status == 200 && a.body != string(whole) {
		t.Errorf("download: %d bytes", len(a.body))
	}
}
