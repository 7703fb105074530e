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
	c.Bucket = s.Bucket(t, fmt.Sprintf("bucket-%d", buckets.Add(1)), s.locks)
	c.AccessKeyID, c.SecretAccessKey = testenv.AccessKey, testenv.SecretKey
	for _, f := range change {
		f(&c)
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

func minio(t *testing.T) stand {
	srv := testenv.MinIO(t)
	return stand{srv, s3.Config{Provider: s3.MinIO, Endpoint: srv.URL}, false}
}

func TestStore(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stand{"s3": versity, "minio": minio} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			destinationtest.TestStore(t, destinationtest.Options{}, func(t *testing.T) destination.Store { return srv.open(t) })
		})
	}
}
