package s3_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
	"github.com/holdfast-dev/holdfast/destination/s3"
	"github.com/holdfast-dev/holdfast/testenv"
)

// quick is a policy that does not make tests wait.
var quick = retry.Policy{Tries: 4, Timeout: time.Second, Wait: 5 * time.Millisecond}

// TestFaults lets every call of uploads of one and of several parts go wrong, at a
// provider with checksums and at one that is only believed when it is read back.
func TestFaults(t *testing.T) {
	for name, start := range map[string]func(*testing.T) stand{"s3": versity, "a store that lies": lying} {
		for size, n := range map[string]int{"one part": 100_000, "several parts": 20 << 20} {
			t.Run(name+", "+size, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				srv := start(t)
				p := testenv.Faults(t, srv.StoreServer)
				faults := p.AllFaults()
				bucket := srv.Bucket(t, "faults", false)
				open := func(endpoint string, p retry.Policy) func(*testing.T) destination.Store {
					return func(t *testing.T) destination.Store {
						return srv.open(t, func(c *s3.Config) { c.Bucket, c.Endpoint, c.Retry = bucket, endpoint, p })
					}
				}
				destinationtest.TestFaults(t, destinationtest.FaultyStore{
					Open: open(p.URL, quick), Sound: open(srv.URL, retry.Policy{})(t), Calls: p.Calls, Faults: slices.Sorted(maps.Keys(faults)),
					Break: func(fault string, first, last int) { p.Break(first, last, faults[fault]) },
				}, n)
			})
		}
	}
}

func TestRefused(t *testing.T) {
	impatient := func(c *s3.Config) { c.Retry = quick; c.Retry.Tries = 2 }
	for name, start := range map[string]func(*testing.T) stand{"s3": versity, "minio": minio, "r2": r2, "backblaze": b2} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.SecretAccessKey = "wrong" }), destination.ErrDenied, "secret is wrong")
			destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.AccessKeyID = "nobody" }), destination.ErrDenied, "the key is not known")
			destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.Bucket = "no-such-bucket" }), destination.ErrNoBucket, "create the bucket no-such-bucket")
			destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.Endpoint = "https://127.0.0.1:9" }), destination.ErrUnreachable, "does not answer; check endpoint")
			destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.Endpoint = "https://holdfast.invalid" }), destination.ErrUnreachable, "check endpoint")
			if srv.config.CAFile != "" {
				destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.CAFile = "" }), destination.ErrUnreachable, "ca_file")
			} else if name == "s3" {
				destinationtest.TestRefused(t, srv.open(t, impatient, func(c *s3.Config) { c.Region = "eu-west-9" }), destination.ErrDenied, "set region")
			}
		})
	}
}
