package gcs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"cloud.google.com/go/storage"
	"github.com/google/uuid"
	gax "github.com/googleapis/gax-go/v2"

	"github.com/holdfast-dev/holdfast/destination"
)

// Metadata of every object.
const (
	metaMark   = "holdfast-mark"
	metaUpload = "holdfast-upload" // tells an own object from one that somebody else has put meanwhile
)

const (
	maxObject = 5 << 40  // Google's limit
	chunk     = 16 << 20 // is held in memory, to be sent again
)

// Put implements [destination.Store].
func (s *Store) Put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	info, err := s.put(ctx, key, r, e)
	if err != nil {
		return destination.Info{}, s.explain("put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, e destination.Estimate) (destination.Info, error) {
	if err := destination.CheckKey(key); err != nil {
		return destination.Info{}, err
	}
	if int64(e) > maxObject {
		return destination.Info{}, fmt.Errorf("%w: about %d GiB are expected, one object can have %d GiB", destination.ErrTooLarge, e>>30, maxObject>>30)
	}
	if _, err := s.attrs(ctx, key); err == nil {
		return destination.Info{}, destination.ErrExist // before hours of work
	} else if !isMissing(err) {
		return destination.Info{}, err
	}
	u := &upload{s: s, key: key, token: uuid.NewString(), sha: sha256.New()}
	if err := u.send(ctx, r); err != nil {
		return destination.Info{}, err
	}
	if err := u.confirm(ctx); err != nil {
		return destination.Info{}, err
	}
	return destination.Info{Key: key, Path: s.path(key), Size: u.size, SHA256: hex.EncodeToString(u.sha.Sum(nil)), Mark: s.mark}, nil
}

// upload is an object on its way.
type upload struct {
	s     *Store
	key   string
	token string
	size  int64
	sha   hash.Hash
	crc   uint32 // CRC-32C

	generation int64 // as the answer to the upload says; 0 if it was lost
}

// mine reports whether attributes are those of the object that was uploaded.
func (u *upload) mine(a *storage.ObjectAttrs) bool {
	return a.Metadata[metaUpload] == u.token || u.generation != 0 && a.Generation == u.generation
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// send uploads what r yields.
func (u *upload) send(ctx context.Context, r io.Reader) error {
	uctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // an upload that is not complete by now is given up
	p := u.s.retry
	if p.Timeout == 0 {
		p.Timeout, p.Tries = 2*time.Minute, 8
	}
	limit := time.Duration(p.Tries+1) * p.Timeout
	watch := time.AfterFunc(2*limit, func() { cancel(fmt.Errorf("%w: nothing was sent for %s", context.DeadlineExceeded, limit)) })
	defer watch.Stop()
	w := u.s.object(u.key).If(storage.Conditions{DoesNotExist: true}).Retryer(
		storage.WithPolicy(storage.RetryAlways), storage.WithMaxAttempts(p.Tries), storage.WithErrorFunc(func(err error) bool { return judge(err).Again }),
		storage.WithBackoff(gax.Backoff{Initial: max(p.Wait, time.Millisecond), Max: 20 * time.Second, Multiplier: 2}),
	).NewWriter(uctx)
	w.ChunkSize, w.ChunkRetryDeadline, w.ChunkTransferTimeout = chunk, limit, p.Timeout
	w.ContentType, w.Metadata = "application/octet-stream", map[string]string{metaUpload: u.token, metaMark: u.s.mark}
	reading, err := u.copy(ctx, w, r, func() { watch.Reset(2 * limit) })
	if reading {
		cancel(err)
		_ = w.Close() // is given up
		return err
	}
	if err == nil {
		watch.Reset(2 * limit)
		if err = w.Close(); err == nil {
			u.generation = w.Attrs().Generation
		}
	}
	if cause := context.Cause(uctx); err != nil && ctx.Err() == nil && cause != nil {
		err = cause
	}
	return u.settle(ctx, err)
}

// copy copies r to w; moved is called for each piece. It reports whether its error
// is that of r.
func (u *upload) copy(ctx context.Context, w io.Writer, r io.Reader, moved func()) (reading bool, err error) {
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		n, err := r.Read(buf)
		u.size += int64(n)
		u.sha.Write(buf[:n])
		u.crc = crc32.Update(u.crc, castagnoli, buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil {
			return false, werr
		}
		moved()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return true, err
		}
	}
}

// settle finds out what has become of an object whose last call failed: the answer
// to a call that succeeded may have been lost.
func (u *upload) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	attrs, aerr := u.s.attrs(ctx, u.key)
	switch {
	case aerr == nil && u.mine(attrs):
		return nil
	case aerr == nil && isTaken(err):
		return destination.ErrExist
	}
	return err
}

// confirm compares what Google has stored with what was sent, and removes the
// object when they differ.
func (u *upload) confirm(ctx context.Context) error {
	attrs, err := u.own(ctx)
	if err == nil && (attrs.Size != u.size || attrs.CRC32C != u.crc) {
		err = fmt.Errorf("%w: %d bytes with the CRC-32C %08x were sent, it has %d with %08x", destination.ErrCorrupt, u.size, u.crc, attrs.Size, attrs.CRC32C)
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, u.remove(ctx))
	}
	return err
}

// asks is how often the provider is asked for an object that it does not know.
const asks = 3

// own returns what Google says of the object.
func (u *upload) own(ctx context.Context) (*storage.ObjectAttrs, error) {
	for range asks {
		attrs, err := u.s.attrs(ctx, u.key)
		if err != nil && !isMissing(err) {
			return nil, fmt.Errorf("ask for what was stored: %w", err)
		}
		if err == nil && u.mine(attrs) {
			return attrs, nil
		}
	}
	return nil, fmt.Errorf("%w: the upload was answered with success, but the object is not there", destination.ErrCorrupt)
}

// removeWait is how long cleaning up may take.
const removeWait = 30 * time.Second

// remove removes the object, but nobody else's.
func (u *upload) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
	defer cancel()
	attrs, err := u.s.attrs(ctx, u.key)
	if isMissing(err) || err == nil && !u.mine(attrs) {
		return nil
	}
	if err != nil {
		return err
	}
	return u.s.deleteGeneration(ctx, u.key, attrs.Generation)
}
