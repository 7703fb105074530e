package s3_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/s3"
	"github.com/holdfast-dev/holdfast/testenv"
)

// stand is a server that stands for a provider.
type stand struct {
	*testenv.StoreServer
	config s3.Config
	locks  bool // buckets keep versions
}

var buckets atomic.Int64

// open returns a store in a bucket of its own.
func (s stand) open(t *testing.T, change ...func(*s3.Config)) *s3.Store {
	t.Helper()
	c := s.config
	c.AccessKeyID, c.SecretAccessKey = testenv.AccessKey, testenv.SecretKey
	for _, f := range change {
		f(&c)
	}
	if c.Bucket == "" {
		c.Bucket = s.Bucket(t, fmt.Sprintf("bucket-%d", buckets.Add(1)), s.locks)
	}
	store, err := s3.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func versity(t *testing.T) stand {
	srv := testenv.Versity(t, testenv.VersityConfig{})
	return stand{srv, s3.Config{Provider: s3.Amazon, Endpoint: srv.URL, Prefix: "some/folder"}, false}
}

// byMD5 is a server that is not asked for more than Content-MD5.
func byMD5(t *testing.T) stand {
	s := versity(t)
	s.config.Provider.MD5 = true
	return s
}

func minio(t *testing.T) stand {
	srv := testenv.MinIO(t)
	return stand{srv, s3.Config{Provider: s3.MinIO, Endpoint: srv.URL}, false}
}

func TestStore(t *testing.T) {
	for name, test := range map[string]struct {
		start func(*testing.T) stand
		o     destinationtest.Options
	}{
		"s3": {start: versity}, "minio": {start: minio}, "s3 by MD5": {start: byMD5, o: destinationtest.Options{Huge: 50_000_000}}, "r2": {start: r2}, // B2 has no conditional writes, and the versions of its stand-in get lost in a race.
		"backblaze":         {b2, destinationtest.Options{Overwrites: true}},
		"a store that lies": {lying, destinationtest.Options{Overwrites: true}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := test.start(t)
			destinationtest.TestStore(t, test.o, func(t *testing.T) destination.Store { return srv.open(t) })
		})
	}
}

func r2(t *testing.T) stand {
	srv := testenv.Versity(t, testenv.VersityConfig{Region: "auto"})
	p := testenv.R2(t, srv)
	return stand{srv, s3.Config{Provider: s3.R2, Endpoint: p.URL, CAFile: p.CAFile}, false}
}

func b2(t *testing.T) stand {
	srv := testenv.Versity(t, testenv.VersityConfig{Region: "us-west-004", Versioning: true})
	p := testenv.B2(t, srv)
	return stand{srv, s3.Config{Provider: s3.Backblaze, Endpoint: p.URL, CAFile: p.CAFile}, true}
}

// lying is a server that takes wrong checksums.
func lying(t *testing.T) stand {
	srv := testenv.LyingS3(t)
	return stand{srv, s3.Config{Provider: s3.Amazon, Endpoint: srv.URL}, false}
}
