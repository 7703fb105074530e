package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type hintKey struct{}

// hint remembers what the answers to the calls of a context said in Retry-After.
type hint struct{ after atomic.Int64 }

func withHint(ctx context.Context) (context.Context, *hint) {
	h := &hint{}
	return context.WithValue(ctx, hintKey{}, h), h
}

// DoHTTP is [Policy.Do] for calls by way of a [Transport], whose wish to come later
// is heard. The calls may take longer than the policy says.
func (p Policy) DoHTTP(ctx context.Context, longer time.Duration, retryable func(error) Decision, call func(context.Context) error) error {
	if longer > 0 && p.Timeout == 0 {
		p.Timeout = p.orDefault().Timeout + longer
	}
	ctx, h := withHint(ctx)
	return p.Do(ctx, func(err error) Decision {
		v := retryable(err)
		v.After = time.Duration(h.after.Load())
		return v
	}, call)
}

// Transport is an HTTP transport that hears the header Retry-After and keeps
// connections for the parts to come.
type Transport struct{ base *http.Transport }

// NewTransport returns a transport that trusts who signed the endpoint's
// certificate: those in a PEM file, or the system's without one. The caller
// must call CloseIdleConnections.
func NewTransport(caFile string) (*Transport, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ExpectContinueTimeout: time.Second,
		DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caFile == "" {
		return &Transport{t}, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM format", caFile)
	}
	return &Transport{t}, nil
}

// CloseIdleConnections lets go of connections that nobody uses.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.base.RoundTrip(req)
	if h, ok := req.Context().Value(hintKey{}).(*hint); ok && res != nil {
		h.after.Store(0)
		if n, perr := strconv.Atoi(res.Header.Get("Retry-After")); perr == nil && n > 0 {
			h.after.Store(int64(time.Duration(min(n, 3600)) * time.Second))
		}
	}
	return res, err
}

// IsNetwork reports whether there was no whole answer.
func IsNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var sent *url.Error
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &sent) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.DeadlineExceeded) ||
		err != nil && strings.Contains(err.Error(), "EOF") // as XML decoders say it
}

// IsUntrusted reports whether who answered could not prove to be the endpoint.
func IsUntrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &cert) || errors.As(err, &unknown) || errors.As(err, &host)
}
