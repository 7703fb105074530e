// Package resume reads an object on after a connection has broken.
package resume

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Opener opens length bytes of an object from offset on; a negative length means
// to the end.
type Opener func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// Resumer says how ranges are opened, and when again.
type Resumer struct {
	Policy    retry.Policy
	Retryable func(error) retry.Decision
	Open      Opener
	Explain   func(error) error // makes an error of Open or of a read one of the caller's
}

// Range opens a range and returns a reader that opens the rest of it again when a
// read fails, or when none comes back within the timeout of the policy. The
// caller closes. Reads end with ctx.
func (d Resumer) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, Resumer: d, offset: offset, left: length}
	if err := r.reopen(); err != nil {
		return nil, d.Explain(err)
	}
	return r, nil
}

type reader struct {
	Resumer
	ctx    context.Context //nolint:containedctx // lives for one range
	offset int64
	left   int64 // negative: to the end

	cur    io.ReadCloser
	cancel context.CancelFunc // of cur
	fails  int                // since the last byte
}

// reopen opens what is left. The deadline of the policy is for the beginning of
// the answer; Read has its own.
func (r *reader) reopen() error {
	r.drop()
	return r.Policy.DoHTTP(r.ctx, 0, r.Retryable, func(tctx context.Context) error {
		ctx, cancel := context.WithCancel(r.ctx)
		stop := context.AfterFunc(tctx, cancel)
		cur, err := r.Open(ctx, r.offset, r.left) //nolint:contextcheck // the answer is read after this call
		if !stop() && err == nil {
			err = errors.Join(context.DeadlineExceeded, cur.Close())
		}
		if err != nil {
			cancel()
			if tctx.Err() != nil {
				return tctx.Err()
			}
			return err
		}
		r.cur, r.cancel = cur, cancel
		return nil
	})
}

// maxFails is how often in a row nothing may come before a read fails.
const maxFails = 5

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 || len(p) == 0 {
		return 0, eof(r.left == 0)
	}
	for {
		n, err := r.read(p)
		if n > 0 || err == nil || errors.Is(err, io.EOF) {
			r.fails = 0
			return n, err
		}
		if r.fails++; r.ctx.Err() != nil || r.fails > maxFails {
			return 0, r.Explain(err)
		}
		if err := r.reopen(); err != nil {
			return 0, r.Explain(err)
		}
	}
}

func eof(over bool) error {
	if over {
		return io.EOF
	}
	return nil
}

// read reads from what is open and notes how far it came. An error that comes
// with bytes comes again.
func (r *reader) read(p []byte) (int, error) {
	timeout := r.Policy.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	watch := time.AfterFunc(timeout, r.cancel)
	n, err := r.cur.Read(p)
	watch.Stop()
	r.offset += int64(n)
	if r.left > 0 {
		r.left -= int64(n)
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

func (r *reader) drop() {
	if r.cur != nil {
		r.cancel()
		_ = r.cur.Close() // its connection is of no more use
		r.cur = nil
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.cur == nil {
		return nil
	}
	err := r.cur.Close() // before the cancel, so that the connection may be used again
	r.cancel()
	r.cur = nil
	return err
}
