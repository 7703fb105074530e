package drivers

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/azure"
	"github.com/holdfast-dev/holdfast/destination/gcs"
)

// gcsSettings are those of Google Cloud Storage.
type gcsSettings struct {
	Bucket          string `yaml:"bucket"`
	Prefix          string `yaml:"prefix"`
	CredentialsFile string `yaml:"credentials_file"` // empty: those of the machine
	Endpoint        string `yaml:"endpoint"`
}

// Check implements [Settings].
func (s *gcsSettings) Check() []string {
	return slices.Concat(checkBucket(s.Bucket), checkEndpoint(s.Endpoint), checkPrefix(s.Prefix))
}

// Open implements [Settings].
func (s *gcsSettings) Open(ctx context.Context, c Common) (destination.Store, error) {
	return gcs.Open(ctx, gcs.Config{Bucket: s.Bucket, Prefix: s.Prefix, CredentialsFile: s.CredentialsFile, Endpoint: s.Endpoint, Mark: c.Mark})
}

// azureSettings are those of Azure Blob Storage.
type azureSettings struct {
	AccountName string             `yaml:"account_name"`
	AccountKey  destination.Secret `yaml:"account_key"`
	Container   string             `yaml:"container"`
	Prefix      string             `yaml:"prefix"`
	Endpoint    string             `yaml:"endpoint"`
	CAFile      string             `yaml:"ca_file"`
}

// Check implements [Settings].
func (s *azureSettings) Check() []string {
	out := slices.Concat(missing("account_name", s.AccountName, "the name of the storage account"), missing("account_key", string(s.AccountKey), "one of its access keys"),
		missing("container", s.Container, "the container in which archives are kept; it must exist"), checkEndpoint(s.Endpoint), checkPrefix(s.Prefix))
	if _, err := base64.StdEncoding.DecodeString(string(s.AccountKey)); err != nil {
		out = append(out, "account_key is not base64, as the portal shows it")
	}
	return out
}

// Open implements [Settings].
func (s *azureSettings) Open(_ context.Context, c Common) (destination.Store, error) {
	return azure.Open(azure.Config{
		AccountName: s.AccountName, AccountKey: s.AccountKey, Container: s.Container, Prefix: s.Prefix, Endpoint: s.Endpoint, CAFile: s.CAFile, Mark: c.Mark,
	})
}
