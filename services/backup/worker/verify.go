package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"filippo.io/age"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/archive"
	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Verify handles a [backup.Verify]: it reads the whole archive and records what it
// finds, also that the archive cannot be read.
func (w *Worker) Verify(ctx context.Context, c *backup.Verify, cause events.Cause) error {
	a := c.CommandRoute().About
	log := events.AtLeast(w.log, a, c.Known)
	state, err := read(ctx, log, a)
	if err != nil {
		return err
	}
	if backup.Readable(state) != nil {
		return nil //nolint:nilerr // the gateway says so itself; the state has changed meanwhile
	}
	found := w.inspect(ctx, c.ID, state)
	if ctx.Err() != nil {
		return ctx.Err() // the command comes again
	}
	l := w.cfg.Logger.With(logging.Backup(c.ID), logging.Project(c.Project))
	if found.OK {
		l.Info("backup verified")
	} else {
		l.Error("verification failed", zap.String("message", found.Message))
	}
	_, err = events.Update(ctx, log, a, cause, func(s backup.State) (events.Event, error) { return backup.Verified(s, found) })
	if errors.Is(err, events.ErrNoChange) {
		return nil
	}
	return err
}

// inspect reads an archive and says what it finds.
func (w *Worker) inspect(ctx context.Context, id string, s backup.State) events.BackupVerified {
	store, ok := w.cfg.Destinations[s.Request.Destination]
	if !ok {
		return events.BackupVerified{Message: "The destination " + s.Request.Destination + " is not in the configuration of the worker any more"}
	}
	r, err := store.Open(ctx, s.Completed.Key, 0, -1)
	if err != nil {
		return events.BackupVerified{Message: unread(err)}
	}
	defer r.Close() //nolint:errcheck // a reader
	in := &summed{r: r, h: sha256.New()}
	note, err := w.readArchive(in, id, s)
	if err == nil || errors.Is(err, errOther) || errors.Is(err, archive.ErrCorrupt) || errors.Is(err, archive.ErrUnsafe) || errors.Is(err, io.ErrUnexpectedEOF) {
		// The sum of the whole says more than where a reader has stumbled.
		if _, derr := io.CopyBuffer(io.Discard, in, make([]byte, 256<<10)); derr != nil {
			return events.BackupVerified{Message: unread(derr)}
		}
		switch {
		case in.n != s.Completed.Size:
			return events.BackupVerified{Message: fmt.Sprintf("The archive has %d bytes, %d were stored", in.n, s.Completed.Size)}
		case in.sum() != s.Completed.SHA256:
			return events.BackupVerified{Message: "The archive has changed since it was stored: its checksum is another"}
		}
	}
	if err != nil {
		return events.BackupVerified{Message: unread(err)}
	}
	return events.BackupVerified{OK: true, Message: note}
}

// readArchive reads an archive from front to back as strictly as a restore does. The
// note says what could not be looked at.
func (w *Worker) readArchive(in io.Reader, id string, s backup.State) (note string, err error) {
	if s.Completed.Encrypted {
		if len(w.cfg.Identities) == 0 {
			return "Only the checksum of the whole was compared: the archive is encrypted, and the worker has no key to look inside", nil
		}
		if in, err = age.Decrypt(in, w.cfg.Identities...); err != nil {
			if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
				return "Only the checksum of the whole was compared: the archive is encrypted for other keys than the worker's", nil
			}
			return "", fmt.Errorf("%w: %w", archive.ErrCorrupt, err)
		}
	}
	r, err := archive.NewReader(in)
	if err != nil {
		return "", err
	}
	if err := project.Verify(r); err != nil {
		return "", err
	}
	if m := r.Manifest(); m.ID != id || s.Completed.ManifestSHA256 != "" && m.SHA256 != s.Completed.ManifestSHA256 || !slices.Equal(partsIn(m), s.Completed.Parts) {
		return "", errOther
	}
	return "", nil
}

// errOther says that the archive is good, but does not hold what the log says: somebody
// wrote the sidecar that was adopted.
var errOther = errors.New("the archive is not the one that the event log describes")

// partsIn returns what an archive holds, as an event says it.
func partsIn(m archive.Manifest) (parts []events.Part) {
	for _, p := range m.Parts {
		parts = append(parts, events.Part{Name: p.Name, Bytes: p.Bytes, Entries: p.Entries})
	}
	return parts
}

// unread says for people why an archive could not be read to its end.
func unread(err error) string {
	advice := "; the log of the worker says why"
	if e, ok := errors.AsType[*destination.Error](err); ok && e.Advice != "" {
		advice = ": " + e.Advice
	}
	switch {
	case errors.Is(err, destination.ErrNotExist):
		return "The archive is not at its destination any more"
	case errors.Is(err, archive.ErrCorrupt), errors.Is(err, archive.ErrUnsafe):
		return "The archive is damaged: " + project.Damage(err)
	case errors.Is(err, errOther):
		return "The archive is whole, but it is not the one that the event log describes: another backup, or another content"
	case errors.Is(err, archive.ErrVersion):
		return "A later version of Holdfast has written the archive"
	}
	return "The archive could not be read" + advice
}

// summed notes the size and the sum of what is read through it.
type summed struct {
	r io.Reader
	h hash.Hash
	n int64
}

// Read implements io.Reader.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *summed) sum() string { return hex.EncodeToString(s.h.Sum(nil)) }
