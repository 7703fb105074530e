package retry

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

type hintKey struct{}

// Hint remembers what the answers to the calls of a context said in Retry-After.
type Hint struct{ after atomic.Int64 }

// WithHint returns a context whose calls, made through a [Transport], tell the
// hint when to come again.
func WithHint(ctx context.Context) (context.Context, *Hint) {
	h := &Hint{}
	return context.WithValue(ctx, hintKey{}, h), h
}

// After returns the wish of the last answer, or 0.
func (h *Hint) After() time.Duration { return time.Duration(h.after.Load()) }

// Transport passes the header Retry-After of answers on to hints.
type Transport struct{ Base http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.Base.RoundTrip(req)
	if h, ok := req.Context().Value(hintKey{}).(*Hint); ok && res != nil {
		h.after.Store(0)
		if n, perr := strconv.Atoi(res.Header.Get("Retry-After")); perr == nil && n > 0 {
			h.after.Store(int64(time.Duration(min(n, 3600)) * time.Second))
		}
	}
	return res, err
}
