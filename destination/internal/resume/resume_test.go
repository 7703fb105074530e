package resume_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/destination/internal/resume"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

var content = bytes.Repeat([]byte("0123456789"), 1000)

func again(error) retry.Decision { return retry.Decision{Again: true} }

func driver(p retry.Policy, judge func(error) retry.Decision, open resume.Opener) resume.Resumer {
	return resume.Resumer{Policy: p, Retryable: judge, Open: open, Explain: func(err error) error { return err }}
}

// hanging never answers.
type hanging struct {
	ctx context.Context //nolint:containedctx // lives for one read
}

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

func TestARangeIsReadOn(t *testing.T) {
	errCut := errors.New("cut")
	for name, broken := range map[string]func(context.Context, io.Reader) io.Reader{
		"cut": func(_ context.Context, r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 1000), iotest.ErrReader(errCut))
		},
		"cut at start": func(_ context.Context, _ io.Reader) io.Reader { return iotest.ErrReader(errCut) },
		"hangs": func(ctx context.Context, r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 1000), hanging{ctx})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened := 0
				r, err := driver(retry.Policy{Timeout: time.Second}, again, func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
					var rest io.Reader = bytes.NewReader(content[offset : offset+length])
					if opened++; opened%2 == 1 {
						rest = broken(ctx, rest)
					}
					return io.NopCloser(rest), nil
				}).Range(t.Context(), 5, 9000)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, content[5:9005]) || opened != 2 {
					t.Errorf("%d bytes, opened %d times, %v", len(got), opened, err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestItGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errCut := errors.New("cut")
		r, err := driver(retry.Policy{}, again, func(context.Context, int64, int64) (io.ReadCloser, error) {
			return io.NopCloser(iotest.ErrReader(errCut)), nil
		}).Range(t.Context(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, errCut) {
			t.Errorf("got %v", err)
		}
		_, err = driver(retry.Policy{}, func(error) retry.Decision { return retry.Decision{} }, func(context.Context, int64, int64) (io.ReadCloser, error) {
			return nil, errCut
		}).Range(t.Context(), 0, -1)
		if !errors.Is(err, errCut) {
			t.Errorf("got %v", err)
		}
	})
}
