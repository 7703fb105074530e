package worker

import (
	"context"
	"errors"
	"io"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/internal/fault"
	"github.com/holdfast-dev/holdfast/services/backup"
)

// Read answers a [backup.ArchiveRead].
func (w *Worker) Read(ctx context.Context, q backup.ArchiveRead) ([]byte, error) {
	store, ok := w.cfg.Destinations[q.Destination]
	if !ok {
		return nil, fault.Errorf(fault.Conflict, "The destination %s is not in the configuration of the pool %s any more", q.Destination, w.cfg.Pool)
	}
	if q.Length < 0 || q.Length > backup.MaxRead || q.Offset < 0 {
		return nil, fault.Errorf(fault.Invalid, "A range has at most %d bytes", backup.MaxRead)
	}
	r, err := store.Open(ctx, q.Key, q.Offset, q.Length)
	if errors.Is(err, destination.ErrNotExist) {
		return nil, fault.Wrap(err, fault.BadArchive, "The archive is not at its destination any more; verify the backup")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "The destination cannot be read; the log of the worker says why")
	}
	defer r.Close() //nolint:errcheck // a reader
	b := make([]byte, q.Length)
	n, err := io.ReadFull(r, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Wrap(err, fault.Unavailable, "The destination cannot be read; the log of the worker says why")
	}
	return b[:n], nil
}

// Sign answers a [backup.ArchiveSign].
func (w *Worker) Sign(ctx context.Context, q backup.ArchiveSign) (string, error) {
	signer, ok := w.cfg.Destinations[q.Destination].(destination.Signer)
	if !ok {
		return "", nil
	}
	url, err := signer.Sign(ctx, q.Key, q.Name, q.Valid)
	if err != nil {
		w.cfg.Logger.Debug("no signed URL", zap.String("destination", q.Destination), zap.Error(err))
		return "", nil // the archive can still be had through the gateway
	}
	return url, nil
}
