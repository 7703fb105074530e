package azure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/azure"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
	"github.com/holdfast-dev/holdfast/testenv"
)

var buckets atomic.Int64

// open returns a store in a bucket of its own, unless change names another.
func open(t *testing.T, srv *testenv.StoreServer, change ...func(*azure.Config)) *azure.Store {
	t.Helper()
	c := azure.Config{Endpoint: srv.URL, AccountName: testenv.AzureAccount, AccountKey: testenv.AzureKey}
	for _, f := range change {
		f(&c)
	}
	if c.Container == "" {
		c.Container = srv.Bucket(t, fmt.Sprintf("container-%d", buckets.Add(1)), false)
	}
	s, err := azure.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	srv := testenv.Azurite(t)
	destinationtest.TestStore(t, destinationtest.Options{}, func(t *testing.T) destination.Store {
		return open(t, srv, func(c *azure.Config) { c.Prefix = "some/folder" })
	})
}

// quick is a policy that does not make tests wait.
var quick = retry.Policy{Tries: 4, Timeout: time.Second, Wait: 5 * time.Millisecond}

func TestFaults(t *testing.T) {
	for size, n := range map[string]int{"one request": 100_000, "several chunks": 20 << 20} {
		t.Run(size, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			srv := testenv.Azurite(t)
			p := testenv.Faults(t, srv)
			faults := p.AllFaults()
			bucket := srv.Bucket(t, "faults", false)
			destinationtest.TestFaults(t, destinationtest.FaultyStore{
				Open: func(t *testing.T) destination.Store {
					return open(t, srv, func(c *azure.Config) { c.Container, c.Endpoint, c.Retry = bucket, p.URL, quick })
				},
				Sound: open(t, srv, func(c *azure.Config) { c.Container = bucket }), Calls: p.Calls, Faults: slices.Sorted(maps.Keys(faults)),
				Break: func(fault string, first, last int) { p.Break(first, last, faults[fault]) },
			}, n)
		})
	}
}

func TestRefused(t *testing.T) {
	srv := testenv.Azurite(t)
	impatient := func(c *azure.Config) { c.Retry = quick; c.Retry.Tries = 2 }
	for _, test := range []struct {
		change   func(*azure.Config)
		sentinel error
		advice   string
	}{
		{func(c *azure.Config) { c.Container = "no-such-container" }, destination.ErrNoBucket, "create the container no-such-container"},
		{func(c *azure.Config) { c.Endpoint = "http://127.0.0.1:9/" + c.AccountName }, destination.ErrUnreachable, "check endpoint"},
		{func(c *azure.Config) { c.AccountKey = "d3Jvbmc=" }, destination.ErrDenied, "account_key is wrong"},
	} {
		destinationtest.TestRefused(t, open(t, srv, impatient, test.change), test.sentinel, test.advice)
	}
}

// TestLockedBlobsStay: the emulator knows no locks, so the proxy refuses in Azure's
// words.
func TestLockedBlobsStay(t *testing.T) {
	srv := testenv.Azurite(t)
	p := testenv.Faults(t, srv)
	s := open(t, srv, func(c *azure.Config) { c.Endpoint = p.URL })
	if _, err := s.Put(t.Context(), "p/a", strings.NewReader("precious"), 0); err != nil {
		t.Fatal(err)
	}
	p.Break(1, 1000, func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		if r.Method != http.MethodDelete {
			pass(w, r)
			return
		}
		w.Header().Set("x-ms-error-code", "BlobImmutableDueToPolicy")
		w.WriteHeader(http.StatusConflict)
	})
	if err := s.Delete(t.Context(), "p/a"); !errors.Is(err, destination.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if _, err := s.Stat(t.Context(), "p/a"); err != nil {
		t.Error(err)
	}
}

// TestUnfinishedUploads are found, and aborted, which leaves nothing to see.
func TestUnfinishedUploads(t *testing.T) {
	s := open(t, testenv.Azurite(t))
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, "p/a", r, 0)
		ended <- err
	}()
	if _, err := w.Write(make([]byte, 40<<20)); err != nil {
		t.Fatal(err)
	}
	found := func() (all []destination.Upload, err error) {
		for u, err := range s.Unfinished(t.Context(), "p/") {
			if err != nil {
				return nil, err
			}
			all = append(all, u)
		}
		return all, nil
	}
	var all []destination.Upload
	testenv.Eventually(t, 10*time.Second, func() (err error) {
		if all, err = found(); err == nil && (len(all) != 1 || all[0].Key != "p/a") {
			err = fmt.Errorf("found %+v", all)
		}
		return err
	})
	testenv.Eventually(t, 10*time.Second, func() error { // a block may still be on its way
		if err := s.Abort(t.Context(), all[0]); err != nil {
			return err
		}
		if left, err := found(); err != nil || len(left) > 0 {
			return fmt.Errorf("left: %+v, %w", left, err)
		}
		return nil
	})
	cancel()
	_ = w.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the upload ended with %v", err)
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("left: %+v, %v", info, err)
	}
}

// TestSignedURL is fetched by a client that knows no key.
func TestSignedURL(t *testing.T) {
	s := open(t, testenv.Azurite(t))
	if _, err := s.Put(t.Context(), "p/a", strings.NewReader("content"), 0); err != nil {
		t.Fatal(err)
	}
	url, err := s.Sign(t.Context(), "p/a", "my-project.tar.gz", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]int{url: http.StatusOK, strings.Split(url, "?")[0]: http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != want || want == http.StatusOK && string(body) != "content" {
			t.Errorf("%s: %d %q, %v", u, res.StatusCode, body, err)
		}
	}
}
