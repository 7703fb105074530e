package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// archived is the backup that is restored, as the log has it.
func archived(ctx context.Context, log events.Log, id, project string) (s backup.State, err error) {
	for env, err := range log.Read(ctx, events.BackupAggregate(project, id), 0) {
		if err != nil {
			return s, err
		}
		s = s.Apply(env)
	}
	return s, backup.Readable(s)
}

// open opens the archive and reads its manifest. The event log decides which archive
// that is: either the manifest has the sum that the log holds, and vouches for the
// bytes of the parts, or the whole object was read and has the sum that the log holds.
func (at *attempt) open(ctx context.Context) error {
	req := at.state.Request
	var b backup.State
	err := at.patiently(ctx, "the event log", func() (err error) {
		b, err = archived(ctx, at.w.log, req.Backup, req.BackupProject)
		return err
	})
	if err != nil {
		return err
	}
	c := b.Completed
	at.encrypted, at.sum = c.Encrypted, c.SHA256
	src := newSource(c.Size, func(offset, n int64) (data []byte, err error) {
		err = at.patiently(ctx, "the archive", func() error {
			data, err = at.w.cfg.Fetch(ctx, c.Pool, backup.ArchiveRead{Destination: b.Request.Destination, Key: c.Key, Offset: offset, Length: n})
			return err
		})
		return data, err
	})
	at.source = src
	at.pulse.source.Store(src)
	if err := src.ends(); err != nil {
		return err
	}
	if c.ManifestSHA256 == "" { // an earlier version made the backup
		if err := src.prove(c.SHA256); err != nil {
			return src.explain(err)
		}
	}
	if src.manifest, err = at.manifest(c); err != nil {
		return src.explain(err)
	}
	if src.manifest.ID != req.Backup {
		return &archiveError{fmt.Errorf("it is the archive of another backup, %s", src.manifest.ID)}
	}
	if b.Unverified {
		at.warned.add(archive.Warning{Code: unverifiedCode, Sentence: unverified})
		at.plan.Checks = append(at.plan.Checks, events.RestoreCheck{Name: unverifiedCode, OK: true, Sentence: unverified})
	}
	if err := at.readWarnings(src.plain, src.plainSize); err != nil {
		return src.explain(err)
	}
	return at.readDatabase()
}

// wholeSum compares the sum of the whole object, when all of its parts are restored: they
// were read, so that next to nothing is left to read. A part alone is proved by the
// manifest.
func (at *attempt) wholeSum() error {
	for _, p := range at.source.manifest.Parts {
		if !slices.Contains(at.state.Request.Parts, p.Name) {
			return nil
		}
	}
	return at.source.compare(at.sum)
}

// Of a backup that was adopted and not verified since.
const (
	unverifiedCode = "unverified"
	unverified     = "The backup was adopted and never verified: the checksum that its archive was compared with comes from the sidecar beside it, so whoever may write to the destination could have replaced both."
)

// manifest decrypts the archive, if it is encrypted, and returns its manifest, for which
// the log vouches.
func (at *attempt) manifest(c *events.BackupCompleted) (m archive.Manifest, err error) {
	src := at.source
	src.plain, src.plainSize = src, c.Size
	if c.Encrypted {
		if src.plain, src.plainSize, err = at.decrypted(c); err != nil {
			return m, err
		}
	}
	if m, err = archive.ReadManifest(src.plain, src.plainSize); err != nil || src.proved != nil {
		return m, err
	}
	if m.SHA256 != c.ManifestSHA256 {
		return m, &archiveError{errChanged}
	}
	for _, p := range m.Parts {
		if p.SHA256 == "" {
			return m, &archiveError{fmt.Errorf("its manifest has no checksum of the part %s", p.Name)}
		}
	}
	return m, nil
}

// decrypted returns the decrypted archive and its size. Damage is told from a wrong
// key: an archive that is the one that was stored needs another key.
func (at *attempt) decrypted(c *events.BackupCompleted) (io.ReaderAt, int64, error) {
	src := at.source
	plain, size, err := age.DecryptReaderAt(src, c.Size, at.w.cfg.Identities...)
	if err == nil {
		return &decryptedReader{plain, src}, size, nil
	}
	if src.failure() != nil {
		return nil, 0, src.failure()
	}
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); !ok {
		return nil, 0, &archiveError{fmt.Errorf("its encrypted content is damaged: %w", err)}
	}
	if err := src.prove(c.SHA256); err != nil {
		return nil, 0, err
	}
	return nil, 0, &archiveError{errors.New("it is whole, but none of the identities in encryption.identity_file opens it: add the identity of a recipient that encryption.recipients had at the backup")}
}

// decryptedReader reads what was decrypted. An error that is not of the destination is damage.
type decryptedReader struct {
	io.ReaderAt
	src *source
}

// ReadAt implements io.ReaderAt.
func (d *decryptedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && d.src.failure() == nil {
		err = &archiveError{fmt.Errorf("its encrypted content is damaged: %w", err)}
	}
	return n, err
}
