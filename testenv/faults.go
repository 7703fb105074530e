package testenv

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Fault is a way in which a call to a store goes wrong. It may answer itself, pass
// the request on, or both.
type Fault func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc)

// FaultProxy stands before a store and lets chosen calls go wrong.
type FaultProxy struct {
	URL string // with the path of the store behind it

	mu     sync.Mutex
	calls  int
	first  int // the calls from first to last go wrong
	last   int
	fault  Fault
	closed chan struct{}
}

// Faults puts a proxy before a store. Until it is told otherwise it passes every
// call on.
func Faults(tb testing.TB, behind *StoreServer) *FaultProxy {
	tb.Helper()
	target, err := url.Parse(behind.URL)
	if err != nil {
		tb.Fatal(err)
	}
	p := &FaultProxy{closed: make(chan struct{})}
	var srv *httptest.Server
	rp := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.Out.Host = r.In.Host // which may be signed
	}, ModifyResponse: func(res *http.Response) error {
		if l := res.Header.Get("Location"); l != "" { // of an upload that is to be continued
			res.Header.Set("Location", strings.Replace(l, target.Scheme+"://"+target.Host, srv.URL, 1))
		}
		return nil
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.next(); f != nil {
			f(w, r, rp.ServeHTTP)
			return
		}
		rp.ServeHTTP(w, r)
	}))
	tb.Cleanup(func() {
		close(p.closed)
		srv.CloseClientConnections()
		srv.Close()
	})
	p.URL = srv.URL + target.Path
	return p
}

// next counts a call and returns what is to happen to it, if anything.
func (p *FaultProxy) next() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.fault == nil || p.calls < p.first || p.calls > p.last {
		return nil
	}
	return p.fault
}

// Break lets the calls from first to last, counted from 1 and from now, go wrong.
// A nil fault lets all pass.
func (p *FaultProxy) Break(first, last int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.first, p.last, p.fault = 0, first, last, f
}

// Calls returns how many calls there were since the last Break.
func (p *FaultProxy) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// AllFaults returns every kind of fault by its name. A call that hangs does so
// until its client goes away.
func (p *FaultProxy) AllFaults() map[string]Fault {
	return map[string]Fault{
		"503":             answer(http.StatusServiceUnavailable, ""),
		"500":             answer(http.StatusInternalServerError, ""),
		"429":             answer(http.StatusTooManyRequests, "1"),
		"reset":           Reset,
		"lost answer":     lostAnswer,
		"request cut":     cutRequest,
		"answer cut":      cutAnswer,
		"wrong ETag":      wrongETag,
		"200 and nothing": nothingDone,
		"flipped bit":     FlipBit,
		"hang": func(_ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			select {
			case <-r.Context().Done():
			case <-p.closed:
			}
			panic(http.ErrAbortHandler)
		},
	}
}

// answer reads the request and answers with a status.
func answer(status int, after string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		_, _ = io.Copy(io.Discard, r.Body) // as far as it comes
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
	}
}

// Reset ends the connection before the request has come.
func Reset(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that a reset is sent
	}
	_ = conn.Close() // that is the fault
}

// lostAnswer lets the call take effect and keeps the answer.
func lostAnswer(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	pass(httptest.NewRecorder(), r)
	Reset(w, nil, nil)
}

// cutRequest passes half of the request on.
func cutRequest(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	half := io.LimitReader(r.Body, r.ContentLength/2)
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(half, failing{}), r.Body}
	pass(w, r)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("cut") }

// cutAnswer sends half of the body of the answer, or none of the answer.
func cutAnswer(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	rec := httptest.NewRecorder()
	pass(rec, r)
	if rec.Body.Len() < 2 {
		Reset(w, nil, nil)
		return
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2]) // that is the fault
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

const otherETag = `"0123456789abcdef0123456789abcdef"`

// wrongETag passes the call on and answers with another tag.
func wrongETag(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	rec := httptest.NewRecorder()
	pass(rec, r)
	maps.Copy(w.Header(), rec.Header())
	if w.Header().Get("ETag") != "" {
		w.Header().Set("ETag", otherETag)
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()) // the client sees what is missing
}

// nothingDone says that all is well and does nothing.
func nothingDone(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
	_, _ = io.Copy(io.Discard, r.Body) // as far as it comes
	w.Header().Set("ETag", otherETag)
	w.WriteHeader(http.StatusOK)
}

// FlipBit changes one bit in the middle of the request's body.
func FlipBit(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	pass(w, r)
}
