package worker_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/restore"
	"github.com/holdfast-dev/holdfast/services/restore/worker"
)

const ballast = "config/.env.ballast"

// attacks are what somebody who may write to the destination does to an archive whose
// inner sums are all right afterwards. The
// ballast gives them room to make it as large as it was.
func attacks() map[string]func(b *bench) {
	forge := func(b *bench, id string) {
		b.write("functions/main/index.ts", "forged")
		b.write("config/.env", "A=forged")
		b.write(ballast, "")
		b.size = b.plainSize
		b.pack(id)
		b.write("functions/main/index.ts", "changed")
		b.write("config/.env", "A=changed")
	}
	return map[string]func(b *bench){
		"edited, and the inner sums made anew": func(b *bench) { forge(b, b.create.Backup) },
		"the archive of another backup":        func(b *bench) { forge(b, backup.NewID()) },
		"cut off, and ended anew": func(b *bench) {
			whole := b.backup
			b.backup = project.Project{Parts: whole.Parts[:1]}
			forge(b, b.create.Backup)
			b.backup = whole
		},
		"cut off": func(b *bench) { b.archive = b.archive[:len(b.archive)-100] },
		"empty":   func(b *bench) { b.archive = nil },
	}
}

// TestTheLogDecidesWhichArchiveItIs attacks whole and partial restores and dry runs, of
// plain and encrypted backups, of this version and of earlier ones.
func TestTheLogDecidesWhichArchiveItIs(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for attack, f := range attacks() {
		for _, c := range []struct {
			name                string
			older, dry, encrypt bool
			parts               []string
		}{
			{name: "whole", parts: []string{project.Functions, project.Config}},
			{name: "partial", parts: []string{project.Functions}},
			{name: "dry run", parts: []string{project.Functions}, dry: true},
			{name: "encrypted", parts: []string{project.Functions}, encrypt: true},
			{name: "whole, older", parts: []string{project.Functions, project.Config}, older: true},
			{name: "partial, older", parts: []string{project.Functions}, older: true},
			{name: "dry run, older", parts: []string{project.Functions}, older: true, dry: true},
			{name: "encrypted, older", parts: []string{project.Functions}, older: true, encrypt: true},
		} {
			t.Run(attack+"/"+c.name, func(t *testing.T) {
				b := &bench{t: t, older: c.older}
				if c.encrypt {
					b.recipients = []age.Recipient{id.Recipient()}
				}
				b = newBenchOf(b, func(string) { b.write(ballast, rand.Text()+rand.Text()+rand.Text()+rand.Text()) }, func(w *worker.Config) { w.Identities = []age.Identity{id} })
				b.create.Parts, b.create.DryRun = c.parts, c.dry
				f(b)
				b.seen = func(e events.Event) {
					if _, ok := e.(events.RestoreStageCompleted); ok {
						t.Errorf("the restore went on: %+v", e)
					}
				}
				if err := b.w.Handle(t.Context(), b.request()); err != nil {
					t.Fatal(err)
				}
				s := b.state()
				if s.Failed == nil || s.Failed.Reason != events.ReasonArchive || s.Failed.State != restore.Unchanged || !strings.HasPrefix(s.Failed.Message, "The archive ") {
					t.Errorf("state %+v, failed %+v", s, s.Failed)
				}
				b.is("after the attack", "changed")
				b.alone()
			})
		}
	}
}

// TestOlderBackupsAreStillRestored by reading the whole archive first.
func TestOlderBackupsAreStillRestored(t *testing.T) {
	b := newBenchOf(&bench{t: t, older: true}, func(string) {})
	if err := b.w.Handle(t.Context(), b.request()); err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Completed == nil {
		t.Errorf("failed %+v", s.Failed)
	}
	b.is("after the restore", "backed up")
}

// TestDamagedCiphertextIsNoWrongKey tells the two apart.
func TestDamagedCiphertextIsNoWrongKey(t *testing.T) {
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		identity age.Identity
		spoil    func(a []byte)
		want     string
	}{
		"wrong key":       {other, func([]byte) {}, "it is whole, but none of the identities"},
		"stanza damaged":  {mine, func(a []byte) { a[90] = "BA"[min(1, int(a[90]-'A'))] }, "checksum is another"},
		"header damaged":  {mine, func(a []byte) { a[strings.Index(string(a), "\n--- ")+8] ^= 1 }, "encrypted content is damaged"},
		"content damaged": {mine, func(a []byte) { a[len(a)-60] ^= 1 }, "encrypted content is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchOf(&bench{t: t, recipients: []age.Recipient{mine.Recipient()}}, func(string) {}, func(w *worker.Config) { w.Identities = []age.Identity{c.identity} })
			c.spoil(b.archive)
			if err := b.w.Handle(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			if s := b.state(); s.Failed == nil || s.Failed.Reason != events.ReasonArchive || !strings.Contains(s.Failed.Message, c.want) {
				t.Errorf("failed %+v, want %q", s.Failed, c.want)
			}
			b.is("afterwards", "changed")
		})
	}
}

// TestAnAdoptedBackupIsNamedUnverified until somebody has looked at the whole archive.
func TestAnAdoptedBackupIsNamedUnverified(t *testing.T) {
	for name, c := range map[string]struct {
		then []events.Event
		want bool
	}{
		"never verified":        {nil, true},
		"found damaged":         {[]events.Event{events.BackupVerified{Message: "damaged"}}, true},
		"not looked at inside":  {[]events.Event{events.BackupVerified{OK: true, Message: "no key"}}, true},
		"verified":              {[]events.Event{events.BackupVerified{OK: true}}, false},
		"verified, then failed": {[]events.Event{events.BackupVerified{OK: true}, events.BackupVerified{Message: "out of reach"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a := events.BackupAggregate("q", backup.NewID())
			b.create.Backup, b.create.BackupProject = a.ID, a.Project
			done := b.pack(a.ID)
			adopted := events.BackupAdopted{Pool: "default", Type: backup.Full, Destination: "local", CreatedAt: time.Now(), EndedAt: time.Now(), Completed: done}
			last := events.Revision(0)
			for _, e := range append([]events.Event{adopted}, c.then...) {
				env, err := b.log.Append(t.Context(), a, last, e, events.Cause{})
				if err != nil {
					t.Fatal(err)
				}
				last = env.Revision
			}
			if err := b.w.Handle(t.Context(), b.request()); err != nil {
				t.Fatal(err)
			}
			s := b.state()
			if s.Completed == nil {
				t.Fatalf("failed %+v", s.Failed)
			}
			said := false
			for _, w := range s.Completed.Warnings {
				said = said || w.Code == "unverified"
			}
			if said != c.want {
				t.Errorf("warnings %+v, want unverified: %v", s.Completed.Warnings, c.want)
			}
		})
	}
}

// TestTheSafetyBackupOfAnEncryptedBackupIsEncrypted or the request is refused and says
// why.
func TestTheSafetyBackupOfAnEncryptedBackupIsEncrypted(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		backup, canEncrypt, byDefault, safety bool
		want                                  bool // encrypted
		refused                               bool
	}{
		"encrypted":                   {backup: true, canEncrypt: true, safety: true, want: true},
		"plain":                       {canEncrypt: true, safety: true},
		"plain, encrypted by default": {canEncrypt: true, byDefault: true, safety: true, want: true},
		"no recipients":               {backup: true, safety: true, refused: true},
		"no recipients, plain":        {safety: true},
		"no safety backup":            {backup: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{t: t}
			if c.backup {
				b.recipients = []age.Recipient{id.Recipient()}
			}
			var sent *backup.Create
			b = newBenchOf(b, func(string) {}, func(w *worker.Config) {
				w.Identities = []age.Identity{id}
				w.Send = func(_ context.Context, cmd events.Command, _ events.Cause) error {
					create := cmd.(backup.Create)
					sent = &create
					return b.complete(create)
				}
			})
			registered := events.ProjectRegistered{Name: "P", Pool: "default", DefaultDestination: "local", CanEncrypt: c.canEncrypt, EncryptDefault: c.byDefault}
			if _, err := b.log.Append(t.Context(), events.ProjectAggregate("p"), 0, registered, events.Cause{}); err != nil {
				t.Fatal(err)
			}
			b.create.Safety = c.safety
			env := b.request()
			if r, ok := env.Event.(events.RestoreRejected); ok != c.refused || ok && !strings.Contains(r.Message, "set encryption.recipients, or send") {
				t.Fatalf("refused: %v, %+v", ok, env.Event)
			}
			if c.refused {
				return
			}
			if err := b.w.Handle(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			if s := b.state(); s.Completed == nil {
				t.Errorf("failed %+v", s.Failed)
			}
			if (sent != nil) != c.safety || sent != nil && sent.Encrypt != c.want {
				t.Errorf("safety backup %+v, want one: %v, encrypted: %v", sent, c.safety, c.want)
			}
		})
	}
}

// complete does what the worker of the backups does.
func (b *bench) complete(c backup.Create) error {
	a, rev := c.CommandRoute().About, events.Revision(0)
	for _, e := range []events.Event{
		events.BackupRequested{Pool: c.Pool, Type: c.Type, Destination: c.Destination, Encrypt: c.Encrypt, Origin: c.Origin}, events.BackupStarted{Attempt: 1}, events.BackupCompleted{Attempt: 1, Key: "k2", Size: 1},
	} {
		env, err := b.log.Append(b.t.Context(), a, rev, e, events.Cause{})
		if err != nil {
			return err
		}
		rev = env.Revision
	}
	return nil
}

// TestABackupWithoutPartsIsRefused as well when a command asks for it.
func TestABackupWithoutPartsIsRefused(t *testing.T) {
	b := newBench(t)
	b.create.Parts = nil
	if r, ok := b.request().Event.(events.RestoreRejected); !ok || !strings.Contains(r.Message, "names no parts of this backup") {
		t.Errorf("got %+v", r)
	}
}
