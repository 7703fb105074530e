package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestNobodyDownloadsAnotherArchive replaces the object of a backup: a whole download
// never ends well.
func TestNobodyDownloadsAnotherArchive(t *testing.T) {
	for name, size := range map[string]int{"one piece": 1000, "several pieces": 3<<20 + 17} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.archive = s.archive[:size]
			path := "/api/v1/backups/" + s.backup() + "/download"
			if a := s.want(s.call("GET", path, ""), 200); a.body != string(s.archive) {
				t.Error("the archive itself is not what comes")
			}
			s.archive[size/2] ^= 1
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-API-Key", writer)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if resp.StatusCode == 200 && (err == nil || len(got) >= size) {
				t.Errorf("%d of %d bytes came, %v", len(got), size, err)
			}
			if size < backup.MaxRead && resp.StatusCode != 502 {
				t.Errorf("status %d, want 502: %s", resp.StatusCode, got)
			}
		})
	}
}

// TestVerifiedIsSaid of backups whose checksum is Holdfast's own, and of adopted ones when
// somebody has looked at the whole archive.
func TestVerifiedIsSaid(t *testing.T) {
	s := start(t)
	s.want(s.call("GET", "/api/v1/backups/"+s.backup(), ""), 200, `"verified":true`)
	a := events.BackupAggregate("p", backup.NewID())
	s.append(a, events.BackupAdopted{
		Pool: "default", Type: backup.Full, Destination: "local", CreatedAt: time.Now(), EndedAt: time.Now(),
		Completed: events.BackupCompleted{Attempt: 1, Key: "k", Size: 1, SHA256: sumOf(nil)},
	})
	for _, step := range []struct {
		e    events.Event
		want string
	}{
		{events.BackupHeld{}, `"verified":false`},
		{events.BackupVerified{OK: true, Message: "no key"}, `"verified":false`},
		{events.BackupVerified{OK: true}, `"verified":true`},
		{events.BackupVerified{Message: "damaged"}, `"verified":false`},
	} {
		s.append(a, step.e)
		last, err := s.log.Last(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.catalog.Get(t.Context(), catalog.Get{ID: a.ID, Min: last.Revision}); err != nil {
			t.Fatal(err)
		}
		s.want(s.call("GET", "/api/v1/backups/"+a.ID, ""), 200, step.want)
	}
}

// TestABackupWithoutPartsIsDamaged and no restore that brings nothing back.
func TestABackupWithoutPartsIsDamaged(t *testing.T) {
	s := start(t)
	a := events.BackupAggregate("p", backup.NewID())
	s.append(a, events.BackupAdopted{
		Pool: "default", Type: backup.Full, Destination: "local", CreatedAt: time.Now(), EndedAt: time.Now(),
		Completed: events.BackupCompleted{Attempt: 1, Key: "k", Size: 1, SHA256: sumOf(nil)},
	})
	last, err := s.log.Last(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.catalog.Get(t.Context(), catalog.Get{ID: a.ID, Min: last.Revision}); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"{}", `{"restoreTypes":["full"]}`, `{"dryRun":true}`} {
		s.want(s.call("POST", "/api/v1/backups/"+a.ID+"/restore", body), 409, "names no parts of this backup")
	}
}
