package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	minioclient "github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/s3"
	"github.com/holdfast-dev/holdfast/testenv"
)

func put(t *testing.T, s *s3.Store, key, content string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(content), 0); err != nil {
		t.Fatal(err)
	}
}

// TestLockedObjectsStay: a locked object is not deleted, not even hidden, and the
// error says until when it is locked.
func TestLockedObjectsStay(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stand{
		"s3": func(t *testing.T) stand {
			srv := testenv.Versity(t, testenv.VersityConfig{Versioning: true})
			return stand{srv, s3.Config{Provider: s3.Amazon, Endpoint: srv.URL}, true}
		},
		"minio": minio, "backblaze": b2,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			srv.locks = true
			bucket := ""
			s := srv.open(t, func(c *s3.Config) {
				bucket = srv.Bucket(t, "locked-"+name, true)
				c.Bucket = bucket
			})
			put(t, s, "p/a", "precious")
			put(t, s, "p/free", "not so")
			region := srv.config.Region
			if region == "" {
				region = srv.config.Provider.Region
			}
			c, err := testenv.S3Client(srv.URL, region)
			if err != nil {
				t.Fatal(err)
			}
			mode, until := minioclient.Governance, time.Now().Add(time.Hour).UTC()
			if err := c.PutObjectRetention(t.Context(), bucket, "p/a", minioclient.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until}); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "p/a"); !errors.Is(err, destination.ErrLocked) || !strings.Contains(err.Error(), "until "+until.Format("2006-01-02T15")) {
				t.Errorf("got %v, want ErrLocked and until when", err)
			}
			if _, err := s.Stat(t.Context(), "p/a"); err != nil {
				t.Errorf("the locked object is hidden: %v", err)
			}
			if err := s.Delete(t.Context(), "p/free"); err != nil {
				t.Error(err)
			}
			for o := range c.ListObjects(t.Context(), bucket, minioclient.ListObjectsOptions{Recursive: true, WithVersions: true}) {
				if o.Err != nil || o.Key != "p/a" || o.IsDeleteMarker {
					t.Errorf("left: %+v", o)
				}
			}
		})
	}
}

// TestUnfinishedUploads are found, and aborted one by one.
func TestUnfinishedUploads(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stand{"s3": versity, "minio": minio, "r2": r2, "backblaze": b2} {
		t.Run(name, func(t *testing.T) {
			s := start(t).open(t)
			ctx, cancel := context.WithCancel(t.Context())
			r, w := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				_, err := s.Put(ctx, "p/a", r, 0)
				ended <- err
			}()
			if _, err := w.Write(make([]byte, 20<<20)); err != nil {
				t.Fatal(err)
			}
			var found []destination.Upload
			testenv.Eventually(t, 10*time.Second, func() error {
				found = nil
				for u, err := range s.Unfinished(t.Context(), "p/a") {
					if err != nil {
						return err
					}
					found = append(found, u)
				}
				if len(found) != 1 {
					return errors.New("not one upload")
				}
				return nil
			})
			if found[0].Key != "p/a" || time.Since(found[0].Started).Abs() > time.Hour {
				t.Errorf("found %+v", found)
			}
			for range 2 {
				if err := s.Abort(t.Context(), found[0]); err != nil {
					t.Error(err)
				}
			}
			cancel()
			_ = w.Close()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the upload ended with %v", err)
			}
		})
	}
}

// TestSignedURL is fetched by a client that knows no key.
func TestSignedURL(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stand{"s3": versity, "minio": minio} {
		t.Run(name, func(t *testing.T) {
			s := start(t).open(t)
			put(t, s, "p/a", "content")
			url, err := s.Sign(t.Context(), "p/a", "my-project.tar.gz", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for u, want := range map[string]int{url: http.StatusOK, strings.Replace(url, "p/a", "p/b", 1): http.StatusForbidden} {
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
				if err != nil || res.StatusCode != want {
					t.Errorf("%s: %d, %v", u, res.StatusCode, err)
				}
				if want == http.StatusOK && (string(body) != "content" || res.Header.Get("Content-Disposition") != `attachment; filename="my-project.tar.gz"`) {
					t.Errorf("%q, %v", body, res.Header)
				}
			}
		})
	}
}

// TestAStoreThatLiesIsReadBack: it takes an object with a wrong bit and says back
// the checksum that it was told.
func TestAStoreThatLiesIsReadBack(t *testing.T) {
	srv := lying(t)
	p := testenv.Faults(t, srv.StoreServer)
	s := srv.open(t, func(c *s3.Config) { c.Endpoint = p.URL })
	put(t, s, "p/probed", "the checksums of this store have been tried")
	for _, n := range []int{1000, 20 << 20} {
		p.Break(1, 4, func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
			if r.Method == http.MethodPut {
				testenv.FlipBit(w, r, pass)
				return
			}
			pass(w, r)
		})
		_, err := s.Put(t.Context(), "p/a", bytes.NewReader(make([]byte, n)), 0)
		p.Break(0, 0, nil)
		if !errors.Is(err, destination.ErrCorrupt) {
			t.Errorf("%d bytes: got %v, want ErrCorrupt", n, err)
		}
		if _, err := s.Stat(t.Context(), "p/a"); !errors.Is(err, destination.ErrNotExist) {
			t.Errorf("%d bytes: the damaged object is still there: %v", n, err)
		}
	}
}

// TestMarkAndPrefix: an object says who stored it, and a prefix is a wall.
func TestMarkAndPrefix(t *testing.T) {
	srv := versity(t)
	bucket := srv.Bucket(t, "shared", false)
	in := func(prefix, mark string) *s3.Store {
		return srv.open(t, func(c *s3.Config) { c.Bucket, c.Prefix, c.Mark = bucket, prefix, mark })
	}
	a, b, all := in("a", "mark of a"), in("/b/c/", "mark of b"), in("", "")
	put(t, a, "p/1", "x")
	put(t, b, "p/2", "x")
	info, err := a.Stat(t.Context(), "p/1")
	if err != nil || info.Mark != "mark of a" || info.Path != "s3://shared/a/p/1" {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := b.Stat(t.Context(), "p/1"); !errors.Is(err, destination.ErrNotExist) {
		t.Error(err)
	}
	for s, want := range map[*s3.Store]string{a: "p/1 ", b: "p/2 ", all: "a/p/1 b/c/p/2 "} {
		got := ""
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			got += info.Key + " "
		}
		if got != want {
			t.Errorf("listed %q, want %q", got, want)
		}
	}
}
