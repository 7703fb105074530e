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
	"strconv"
	"time"

	"cloud.google.com/go/storage"
	gax "github.com/googleapis/gax-go/v2"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
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

// upload is an object on its way. It implements [portable.Upload].
type upload struct {
	d    *driver
	name string
	tags portable.Tags
	size int64
	sha  hash.Hash
	crc  uint32 // CRC-32C

	generation int64 // as the answer to the upload says; 0 if it was lost
}

// NewUpload implements [portable.Driver].
func (d *driver) NewUpload(name string, tags portable.Tags, e destination.Estimate) (portable.Upload, error) {
	if int64(e) > maxObject {
		return nil, fmt.Errorf("%w: about %d GiB are expected, one object can have %d GiB", destination.ErrTooLarge, e>>30, maxObject>>30)
	}
	return &upload{d: d, name: name, tags: tags, sha: sha256.New()}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Send implements [portable.Upload].
func (u *upload) Send(ctx context.Context, r io.Reader) (parts.Sums, error) {
	uctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // an upload that is not complete by now is given up
	p := u.d.retry
	if p.Timeout == 0 {
		p.Timeout, p.Tries = 2*time.Minute, 8
	}
	limit := time.Duration(p.Tries+1) * p.Timeout
	watch := time.AfterFunc(2*limit, func() { cancel(fmt.Errorf("%w: nothing was sent for %s", context.DeadlineExceeded, limit)) })
	defer watch.Stop()
	w := u.d.bucket.Object(u.name).If(storage.Conditions{DoesNotExist: true}).Retryer(
		storage.WithPolicy(storage.RetryAlways), storage.WithMaxAttempts(p.Tries), storage.WithErrorFunc(func(err error) bool { return u.d.Retryable(err).Again }),
		storage.WithBackoff(gax.Backoff{Initial: max(p.Wait, time.Millisecond), Max: 20 * time.Second, Multiplier: 2}),
	).NewWriter(uctx)
	w.ChunkSize, w.ChunkRetryDeadline, w.ChunkTransferTimeout = chunk, limit, p.Timeout
	w.ContentType, w.Metadata = "application/octet-stream", map[string]string{metaUpload: u.tags.Upload, metaMark: u.tags.Mark}
	reading, err := u.copy(ctx, w, r, func() { watch.Reset(2 * limit) })
	if reading {
		cancel(err)
		_ = w.Close() // is given up
		return parts.Sums{}, err
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
	return u.sums(), portable.Unknown(err)
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

func (u *upload) sums() parts.Sums {
	return parts.Sums{Size: u.size, SHA256: hex.EncodeToString(u.sha.Sum(nil)), CRC32C: u.crc}
}

func encode(crc32c uint32) string { return fmt.Sprintf("%08x", crc32c) }

// Find implements [portable.Upload]. The generation tells the own object as well as
// its metadata do.
func (u *upload) Find(ctx context.Context) (portable.Object, error) {
	o, err := u.d.Stat(ctx, u.name)
	if err == nil && u.generation != 0 && o.Version == strconv.FormatInt(u.generation, 10) {
		o.Upload = u.tags.Upload
	}
	return o, err
}

// Confirm implements [portable.Upload].
func (*upload) Confirm(_ context.Context, o portable.Object, sums parts.Sums) error {
	if o.Checksum != encode(sums.CRC32C) {
		return fmt.Errorf("%w: bytes with the CRC-32C %s were sent, it has %s", destination.ErrCorrupt, encode(sums.CRC32C), o.Checksum)
	}
	return nil
}

// Abort implements [portable.Upload]: Google drops by itself what was not completed.
func (*upload) Abort(context.Context) error { return nil }

// Remove implements [portable.Upload].
func (u *upload) Remove(ctx context.Context, _ portable.Object) error {
	o, err := u.Find(ctx)
	if isMissing(err) || err == nil && o.Upload != u.tags.Upload {
		return nil
	}
	if err != nil {
		return err
	}
	generation, err := strconv.ParseInt(o.Version, 10, 64)
	if err != nil {
		return fmt.Errorf("generation %q: %w", o.Version, err)
	}
	return u.d.deleteGeneration(ctx, u.name, generation)
}
