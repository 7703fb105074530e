// Package gcs keeps archives in buckets of Google Cloud Storage.
//
// An upload is one resumable session whose chunks follow each other, under the
// condition that there is no object of this name. Google computes the CRC-32C of
// what it has stored; it is compared with that of what was sent. A session that is
// not finished can be seen by nobody, costs nothing and ends after a week.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Config says which bucket.
type Config struct {
	Bucket          string
	Prefix          string // of all keys in the bucket, such as "backups/"
	CredentialsFile string // JSON; empty: those of the machine, or none with an Endpoint
	Endpoint        string // URL of a stand-in; empty: Google's
	Mark            string // is put on every object
	Retry           retry.Policy
}

// Store is a [destination.Store] in a bucket. It is also a [destination.Marker] and
// a [destination.Signer].
type Store struct {
	*portable.Store
	d *driver
}

// driver speaks Google Cloud Storage. It implements [portable.Driver].
type driver struct {
	bucket    *storage.BucketHandle
	name      string // of the bucket
	host      string
	prefix    string
	client    *storage.Client
	transport *retry.Transport
	retry     retry.Policy
	signs     bool // has the key of a service account
}

// Open prepares a store. It does not connect.
func Open(ctx context.Context, c Config) (*Store, error) {
	base, err := retry.NewTransport("")
	if err != nil {
		return nil, err
	}
	host := "storage.googleapis.com"
	options := []option.ClientOption{storage.WithJSONReads(), storage.WithDisabledClientMetrics()}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("endpoint %q is not a URL such as https://storage.example.com", c.Endpoint)
		}
		host = u.Host
		options = append(options, option.WithEndpoint(strings.TrimSuffix(c.Endpoint, "/")+"/storage/v1/"))
	}
	var client http.RoundTripper = base
	if c.CredentialsFile != "" || c.Endpoint == "" {
		if client, err = authenticated(ctx, c.CredentialsFile, base); err != nil {
			return nil, err
		}
	}
	d := &driver{name: c.Bucket, host: host, prefix: portable.Prefix(c.Prefix), transport: base, retry: c.Retry, signs: c.CredentialsFile != ""}
	if d.client, err = storage.NewClient(ctx, append(options, option.WithHTTPClient(&http.Client{Transport: client}))...); err != nil {
		return nil, err
	}
	// retry.Policy does it, but for the chunks of an upload.
	d.client.SetRetry(storage.WithPolicy(storage.RetryNever))
	d.bucket = d.client.Bucket(c.Bucket)
	return &Store{portable.New(d, d.prefix, c.Mark, c.Retry), d}, nil
}

// authenticated returns a transport that proves who we are.
func authenticated(ctx context.Context, file string, base http.RoundTripper) (http.RoundTripper, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: base})
	if file == "" {
		creds, err := google.FindDefaultCredentials(ctx, storage.ScopeReadWrite)
		if err != nil {
			return nil, fmt.Errorf("credentials_file is missing, and this machine has no credentials of its own: %w", err)
		}
		return &oauth2.Transport{Source: creds.TokenSource, Base: base}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil { // without the name, which may be a key by mistake
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, fmt.Errorf("credentials_file must be the path of a file that this user can read: %w", err)
	}
	creds, err := google.CredentialsFromJSONWithType(ctx, b, google.ServiceAccount, storage.ScopeReadWrite)
	if err != nil {
		return nil, fmt.Errorf("credentials_file: %s does not hold the key of a service account: %w", file, err)
	}
	return &oauth2.Transport{Source: creds.TokenSource, Base: base}, nil
}

// Close ends the client.
func (s *Store) Close() error {
	err := s.d.client.Close()
	s.d.transport.CloseIdleConnections()
	return err
}

// WithMark implements [destination.Marker].
func (s *Store) WithMark(mark string) destination.Store { return &Store{s.Marked(mark), s.d} }

// Path implements [portable.Driver].
func (d *driver) Path(name string) string { return "gs://" + d.name + "/" + name }

// do makes a call, again where that may help.
func (d *driver) do(ctx context.Context, call func(context.Context) error) error {
	return d.retry.DoHTTP(ctx, 0, d.Retryable, call)
}
