package gcs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/gcs"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
	"github.com/holdfast-dev/holdfast/testenv"
)

var buckets atomic.Int64

// open returns a store in a bucket of its own, unless change names another.
func open(t *testing.T, srv *testenv.StoreServer, change ...func(*gcs.Config)) *gcs.Store {
	t.Helper()
	c := gcs.Config{Endpoint: srv.URL}
	for _, f := range change {
		f(&c)
	}
	if c.Bucket == "" {
		c.Bucket = srv.Bucket(t, fmt.Sprintf("bucket-%d", buckets.Add(1)), false)
	}
	s, err := gcs.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStore keeps to 64 MB: the stand-in copies the whole object for each chunk.
func TestStore(t *testing.T) {
	srv := testenv.GCS(t)
	destinationtest.TestStore(t, destinationtest.Options{Huge: 64_000_000}, func(t *testing.T) destination.Store {
		return open(t, srv, func(c *gcs.Config) { c.Prefix = "some/folder" })
	})
}

// quick is a policy that does not make tests wait.
var quick = retry.Policy{Tries: 4, Timeout: time.Second, Wait: 5 * time.Millisecond}

func TestFaults(t *testing.T) {
	for size, n := range map[string]int{"one request": 100_000, "several chunks": 20 << 20} {
		t.Run(size, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			srv := testenv.GCS(t)
			p := testenv.Faults(t, srv)
			faults := p.AllFaults()
			bucket := srv.Bucket(t, "faults", false)
			destinationtest.TestFaults(t, destinationtest.FaultyStore{
				Open: func(t *testing.T) destination.Store {
					return open(t, srv, func(c *gcs.Config) { c.Bucket, c.Endpoint, c.Retry = bucket, p.URL, quick })
				},
				Sound: open(t, srv, func(c *gcs.Config) { c.Bucket = bucket }), Calls: p.Calls, Faults: slices.Sorted(maps.Keys(faults)),
				Break: func(fault string, first, last int) { p.Break(first, last, faults[fault]) },
			}, n)
		})
	}
}

// TestRefused: the stand-in knows no credentials, so the proxy refuses them in
// Google's words.
func TestRefused(t *testing.T) {
	srv := testenv.GCS(t)
	impatient := func(c *gcs.Config) { c.Retry = quick; c.Retry.Tries = 2 }
	destinationtest.TestRefused(t, open(t, srv, impatient, func(c *gcs.Config) { c.Bucket = "no-such-bucket" }), destination.ErrNoBucket, "create the bucket no-such-bucket")
	destinationtest.TestRefused(t, open(t, srv, impatient, func(c *gcs.Config) { c.Endpoint = "http://127.0.0.1:9" }), destination.ErrUnreachable, "check endpoint")
	p := testenv.Faults(t, srv)
	for status, advice := range map[int]string{http.StatusUnauthorized: "credentials are missing or wrong", http.StatusForbidden: "lacks a permission"} {
		p.Break(1, 1000, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":"refused","errors":[{"reason":"forbidden"}]}}`, status)
		})
		destinationtest.TestRefused(t, open(t, srv, impatient, func(c *gcs.Config) { c.Endpoint = p.URL }), destination.ErrDenied, advice)
	}
}

// TestLockedObjectsStay: the stand-in deletes what is held, so the proxy refuses
// it as Google does.
func TestLockedObjectsStay(t *testing.T) {
	srv := testenv.GCS(t)
	p := testenv.Faults(t, srv)
	s := open(t, srv, func(c *gcs.Config) { c.Endpoint = p.URL })
	if _, err := s.Put(t.Context(), "p/a", strings.NewReader("precious"), 0); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	p.Break(1, 1000, func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"error":{"code":403,"message":"Object is subject to bucket's retention policy","errors":[{"reason":"retentionPolicyNotMet"}]}}`)
		case strings.Contains(r.URL.Path, "/o/"):
			_, _ = fmt.Fprintf(w, `{"name":"p/a","retentionExpirationTime":%q}`, until)
		default:
			pass(w, r)
		}
	})
	if err := s.Delete(t.Context(), "p/a"); !errors.Is(err, destination.ErrLocked) || !strings.Contains(err.Error(), until) {
		t.Errorf("got %v, want ErrLocked and until when", err)
	}
	p.Break(0, 0, nil)
	if _, err := s.Stat(t.Context(), "p/a"); err != nil {
		t.Error(err)
	}
}
