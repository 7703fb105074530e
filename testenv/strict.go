package testenv

import (
	"bytes"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// StrictProxy is an S3 server that refuses what a provider is known to refuse and
// passes the rest on to a more patient one. It speaks TLS with a certificate of
// its own.
type StrictProxy struct {
	URL    string
	CAFile string // PEM file with the certificate
	rules  func(*StrictProxy, *http.Request) *refusal

	mu      sync.Mutex
	uploads map[string]map[int]int64 // sizes of parts by upload id
	busy    int                      // so many writes in between one 503; 0: none
	writes  int
}

// refusal is an answer of the proxy itself.
type refusal struct {
	status        int
	code, message string
}

// R2 puts the rules of Cloudflare R2 before a server that was started for the
// region auto: parts of equal size, CRC-64/NVME for whole objects only, and
// neither ACLs, tags, locks, versions nor signed chunks.
func R2(tb testing.TB, behind *StoreServer) *StrictProxy {
	tb.Helper()
	return strict(tb, behind, (*StrictProxy).r2)
}

// B2 puts the rules of Backblaze B2 before a server: no checksum headers, no
// conditional writes, Content-MD5 with object locks, and now and then a 503.
func B2(tb testing.TB, behind *StoreServer) *StrictProxy {
	tb.Helper()
	p := strict(tb, behind, (*StrictProxy).b2)
	p.busy = 7
	return p
}

func strict(tb testing.TB, behind *StoreServer, rules func(*StrictProxy, *http.Request) *refusal) *StrictProxy {
	tb.Helper()
	target, err := url.Parse(behind.URL)
	if err != nil {
		tb.Fatal(err)
	}
	p := &StrictProxy{rules: rules, uploads: map[string]map[int]int64{}}
	rp := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := p.rules(p, r); no != nil {
			no.write(w)
			return
		}
		rp.ServeHTTP(w, r)
	}))
	tb.Cleanup(srv.Close)
	p.URL, p.CAFile = srv.URL, filepath.Join(tb.TempDir(), "ca.pem")
	cert := pemOf(srv.Certificate().Raw)
	if err := os.WriteFile(p.CAFile, cert, 0o644); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (no *refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(no.status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: no.code, Message: no.message})
}

func notImplemented(what string) *refusal {
	return &refusal{http.StatusNotImplemented, "NotImplemented", what + " is not implemented"}
}

func (p *StrictProxy) r2(r *http.Request) *refusal {
	q := r.URL.Query()
	for _, h := range []string{
		"X-Amz-Acl", "X-Amz-Tagging", "X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Legal-Hold", "X-Amz-Object-Lock-Retain-Until-Date",
		"X-Amz-Bucket-Object-Lock-Enabled", "X-Amz-Server-Side-Encryption", "X-Amz-Expected-Bucket-Owner",
	} {
		if r.Header.Get(h) != "" {
			return notImplemented("Header " + strings.ToLower(h))
		}
	}
	for _, sub := range []string{"versions", "policy", "acl", "tagging", "retention", "legal-hold", "object-lock", "versioning"} {
		if q.Has(sub) {
			return notImplemented("?" + sub)
		}
	}
	write := r.Method == http.MethodPut || r.Method == http.MethodPost
	switch {
	case r.Header.Get("Authorization") == "" && !q.Has("X-Amz-Signature"):
		return &refusal{http.StatusUnauthorized, "Unauthorized", "credentials are missing"}
	case strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-"):
		return notImplemented("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	case write && r.ContentLength < 0:
		return &refusal{http.StatusLengthRequired, "MissingContentLength", "a length is needed"}
	case r.Method == http.MethodPost && q.Has("uploads") && !r2Sums(r.Header):
		return &refusal{http.StatusBadRequest, "InvalidRequest", "CRC64NVME is for FULL_OBJECT, the others for COMPOSITE"}
	}
	return p.equalParts(r)
}

// r2Sums reports whether the kind of checksum goes with its type.
func r2Sums(h http.Header) bool {
	algorithm, typ := h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")
	switch algorithm {
	case "":
		return true
	case "CRC64NVME":
		return typ == "FULL_OBJECT" || typ == ""
	}
	return typ == "COMPOSITE" || typ == ""
}

// equalParts notes the sizes of parts and refuses to complete unequal ones.
func (p *StrictProxy) equalParts(r *http.Request) *refusal {
	q := r.URL.Query()
	id := q.Get("uploadId")
	if id == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodPut {
		n, _ := strconv.Atoi(q.Get("partNumber"))
		if p.uploads[id] == nil {
			p.uploads[id] = map[int]int64{}
		}
		p.uploads[id][n] = r.ContentLength
		return nil
	}
	if r.Method != http.MethodPost {
		return nil
	}
	sizes := p.uploads[id]
	for n := 1; n < len(sizes); n++ {
		if sizes[n] != sizes[1] {
			return &refusal{http.StatusBadRequest, "InvalidPart", "All non-trailing parts must have the same length."}
		}
	}
	if sizes[len(sizes)] > sizes[1] {
		return &refusal{http.StatusBadRequest, "InvalidPart", "The last part must not be larger than the others."}
	}
	return nil
}

func (p *StrictProxy) b2(r *http.Request) *refusal {
	for name := range r.Header {
		l := strings.ToLower(name)
		if strings.HasPrefix(l, "x-amz-checksum-") || l == "x-amz-sdk-checksum-algorithm" || l == "x-amz-trailer" {
			return &refusal{http.StatusBadRequest, "InvalidArgument", fmt.Sprintf("Unsupported header '%s' received for this API call.", l)}
		}
	}
	write := r.Method == http.MethodPut || r.Method == http.MethodPost
	switch {
	case write && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != ""):
		return notImplemented("A conditional write")
	case strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-"):
		return notImplemented("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	case r.Header.Get("X-Amz-Acl") != "" && r.Header.Get("X-Amz-Acl") != "private":
		return &refusal{http.StatusBadRequest, "InvalidArgument", "Unsupported value for canned acl"}
	case r.Header.Get("X-Amz-Object-Lock-Mode") != "" && r.Header.Get("Content-Md5") == "":
		return &refusal{http.StatusBadRequest, "InvalidRequest", "Content-MD5 is required for Put Part requests with Object Lock parameters"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if write && p.busy > 0 {
		if p.writes++; p.writes%p.busy == 0 {
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20)) // as far as it has come
			return &refusal{http.StatusServiceUnavailable, "ServiceUnavailable", "no tomes available"}
		}
	}
	return nil
}

func pemOf(der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // into memory
	return b.Bytes()
}
