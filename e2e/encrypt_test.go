package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/holdfast-dev/holdfast/archive"
)

// TestEncrypted makes an archive that only the owner of the key can read.
func TestEncrypted(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, files := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "index.ts"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, config(dir+"/data", dir+"/backups", fmt.Sprintf(`{id: p, functions: {path: %s}}`, files), fmt.Sprintf("encryption: {recipients: [%s]}\n", id.Recipient())))
	d.ready()
	a := d.call("POST", "/backups", `{"projectId":"p","encrypt":true}`)
	d.want(a, 201, `"encrypted":true`, `.tar.gz.age"`)
	got := d.call("GET", "/backups/"+a.backup()["id"].(string)+"/download", "")
	if typ, name := got.header.Get("Content-Type"), got.header.Get("Content-Disposition"); typ != "application/octet-stream" || !strings.HasSuffix(name, `-full.tar.gz.age"`) {
		t.Errorf("%s, %s", typ, name)
	}
	plain, err := age.Decrypt(strings.NewReader(got.body), id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := archive.NewReader(plain)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("the function is not in the archive")
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); e.Name == "functions/index.ts" {
			if err != nil || string(b) != "secret" {
				t.Errorf("%q, %v", b, err)
			}
			return
		}
	}
}
