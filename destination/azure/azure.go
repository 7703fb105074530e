// Package azure keeps archives in containers of Azure Blob Storage.
//
// An upload stages blocks, each with the MD5 sum that Azure verifies on arrival,
// and commits their list under the condition that there is no blob of this name.
// The names of the blocks hold their sums, so that the committed list, which is
// read back, says of what the blob consists. Blocks that are never committed can
// be seen by nobody, cost what blobs cost, and are dropped after a week.
package azure

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Config says which container.
type Config struct {
	AccountName string
	AccountKey  destination.Secret // base64
	Container   string
	Prefix      string // of all keys in the container, such as "backups/"
	Endpoint    string // URL of the account; default: https://<account>.blob.core.windows.net
	CAFile      string // PEM file of who signed the endpoint's certificate; empty: the system's
	Mark        string // is put on every blob
	Retry       retry.Policy
}

// Store is a [destination.Store] in a container. It is also a
// [destination.Uploader], a [destination.Marker] and a [destination.Signer].
type Store struct {
	*portable.Store
	d *driver
}

// driver speaks Azure Blob Storage. It implements [portable.Driver].
type driver struct {
	c         *container.Client
	cred      *container.SharedKeyCredential
	container string
	host      string
	prefix    string
	transport *retry.Transport
	retry     retry.Policy
}

// limits are those of block blobs.
var limits = parts.Limits{Parts: 50_000, Part: 4000 << 20, Object: 50_000 * 4000 << 20}

// Open prepares a store. It does not connect.
func Open(c Config) (*Store, error) {
	if c.Endpoint == "" {
		c.Endpoint = "https://" + c.AccountName + ".blob.core.windows.net"
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("endpoint %q is not a URL such as https://account.blob.core.windows.net", c.Endpoint)
	}
	cred, err := container.NewSharedKeyCredential(c.AccountName, string(c.AccountKey))
	if err != nil {
		return nil, fmt.Errorf("account_key is not base64, as the portal shows it: %w", err)
	}
	transport, err := retry.NewTransport(c.CAFile)
	if err != nil {
		return nil, err
	}
	client, err := container.NewClientWithSharedKeyCredential(strings.TrimSuffix(c.Endpoint, "/")+"/"+c.Container, cred, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{
			Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{MaxRetries: -1}, // retry.Policy does it
			Telemetry: policy.TelemetryOptions{ApplicationID: "holdfast"},
		},
	})
	if err != nil {
		return nil, err
	}
	d := &driver{c: client, cred: cred, container: c.Container, host: u.Host, prefix: portable.Prefix(c.Prefix), transport: transport, retry: c.Retry}
	return &Store{portable.New(d, d.prefix, c.Mark, c.Retry), d}, nil
}

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.d.transport.CloseIdleConnections()
	return nil
}

// WithMark implements [destination.Marker].
func (s *Store) WithMark(mark string) destination.Store { return &Store{s.Marked(mark), s.d} }

// Path implements [portable.Driver].
func (d *driver) Path(name string) string { return "azure://" + d.container + "/" + name }

func (d *driver) blob(name string) *blockblob.Client { return d.c.NewBlockBlobClient(name) }

// do makes a call, again where that may help. It may take longer than others.
func (d *driver) do(ctx context.Context, longer time.Duration, call func(context.Context) error) error {
	return brief(d.retry.DoHTTP(ctx, longer, d.Retryable, call))
}
