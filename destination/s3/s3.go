// Package s3 keeps archives in buckets that speak Amazon's S3: Amazon's own,
// Cloudflare R2, MinIO, Backblaze B2 and others. What differs between them is in
// the table of [Provider]s.
//
// An upload of several parts, all of them equal but the last, becomes an object
// when it is completed, under the condition that there is none of this name. Every
// part carries a checksum that the provider verifies; whether it really does is
// tried once, with a wrong one. Afterwards the provider is asked for the size and
// the checksum of the whole; one that cannot say them is read back.
package s3

import (
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Provider is what sets one apart from the others.
type Provider struct {
	Name        string // for people
	Scheme      string // of paths for people: s3, r2, …
	Region      string // that requests are signed for, unless another is configured
	PathStyle   bool   // the bucket stands in the path instead of the host name
	MD5         bool   // knows Content-MD5 only; otherwise CRC-64/NVME of the whole object
	Conditional bool   // If-None-Match keeps an object from being overwritten
	Versions    bool   // can list, and delete, the versions of an object
	TLS         bool   // plain HTTP is refused
	Limits      parts.Limits
}

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// Providers. The limits are those of their documentation.
var (
	Amazon = Provider{
		Name: "S3", Scheme: "s3", Region: "us-east-1", Conditional: true, Versions: true,
		Limits: parts.Limits{Parts: 10_000, Part: 5 * gib, Object: 5 * tib},
	}
	MinIO = Provider{
		Name: "MinIO", Scheme: "minio", Region: "us-east-1", PathStyle: true, Conditional: true, Versions: true,
		Limits: parts.Limits{Parts: 10_000, Part: 5 * gib, Object: 5 * tib},
	}
	R2 = Provider{
		Name: "R2", Scheme: "r2", Region: "auto", PathStyle: true, Conditional: true, TLS: true,
		Limits: parts.Limits{Parts: 10_000, Part: 4995 * gib / 1000, Object: 4995 * tib / 1000},
	}
	Backblaze = Provider{
		Name: "Backblaze B2", Scheme: "b2", Region: "us-west-004", PathStyle: true, MD5: true, Versions: true, TLS: true,
		Limits: parts.Limits{Parts: 10_000, Part: 5 * gib, Object: 10_000_000_000_000},
	}
)

// Config says which bucket.
type Config struct {
	Provider        Provider
	Endpoint        string // URL; required but for Amazon's own
	Region          string // default: the provider's
	Bucket          string
	Prefix          string // of all keys in the bucket, such as "backups/"
	AccessKeyID     string // empty, with SecretAccessKey: those of the environment, of ~/.aws or of the machine
	SecretAccessKey destination.Secret
	CAFile          string // PEM file of who signed the endpoint's certificate; empty: the system's
	Mark            string // is put on every object
	Retry           retry.Policy
}

// Store is a [destination.Store] in a bucket. It is also a
// [destination.Uploader], a [destination.Marker] and a [destination.Signer].
type Store struct {
	*portable.Store
	d *driver
}

// driver speaks S3. It implements [portable.Driver].
type driver struct {
	p         Provider
	bucket    string
	prefix    string // of all names that the key may use
	core      minio.Core
	creds     *credentials.Credentials
	transport *retry.Transport
	retry     retry.Policy
	checksums checksums
}

// checksums is what was found out about a provider.
type checksums struct {
	sync.Mutex
	verified *bool // the provider refuses wrong checksums; nil: not tried yet
}

// Open prepares a store. It does not connect. The caller must call Close.
func Open(c Config) (*Store, error) {
	host, secure := "s3.amazonaws.com", true
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("endpoint %q is not a URL such as https://s3.example.com", c.Endpoint)
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	if c.Provider.TLS && !secure {
		return nil, fmt.Errorf("endpoint %q must begin with https: %s speaks nothing else", c.Endpoint, c.Provider.Name)
	}
	if c.Region == "" {
		c.Region = c.Provider.Region
	}
	lookup := minio.BucketLookupAuto
	if c.Provider.PathStyle {
		lookup = minio.BucketLookupPath
	}
	transport, err := retry.NewTransport(c.CAFile)
	if err != nil {
		return nil, err
	}
	creds := c.credentials()
	core, err := minio.NewCore(host, &minio.Options{
		Creds: creds, Secure: secure, Region: c.Region, BucketLookup: lookup,
		Transport: transport, MaxRetries: 1, // retry.Policy does it
	})
	if err != nil {
		return nil, err
	}
	core.SetAppInfo("holdfast", "1")
	d := &driver{p: c.Provider, bucket: c.Bucket, prefix: portable.Prefix(c.Prefix), core: *core, creds: creds, transport: transport, retry: c.Retry}
	return &Store{portable.New(d, d.prefix, c.Mark, c.Retry), d}, nil
}

// credentials returns the configured key, or what the usual places hold: the
// environment, the shared files of AWS, and the role of the machine or container.
func (c Config) credentials() *credentials.Credentials {
	if c.AccessKeyID != "" || c.SecretAccessKey != "" {
		return credentials.NewStaticV4(c.AccessKeyID, string(c.SecretAccessKey), "")
	}
	return credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}})
}

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.d.transport.CloseIdleConnections()
	return nil
}

// WithMark implements [destination.Marker].
func (s *Store) WithMark(mark string) destination.Store { return &Store{s.Marked(mark), s.d} }

// Path implements [portable.Driver].
func (d *driver) Path(name string) string { return d.p.Scheme + "://" + d.bucket + "/" + name }
