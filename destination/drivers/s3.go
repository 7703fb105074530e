package drivers

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/s3"
)

// BucketSettings are what all S3 providers share.
type BucketSettings struct {
	Bucket   string `yaml:"bucket"`
	Prefix   string `yaml:"prefix"`
	Region   string `yaml:"region"`
	Endpoint string `yaml:"endpoint"`
	CAFile   string `yaml:"ca_file"`
}

func (s BucketSettings) check(p s3.Provider) []string {
	out := slices.Concat(checkBucket(s.Bucket), checkEndpoint(s.Endpoint), checkPrefix(s.Prefix))
	if p.TLS && strings.HasPrefix(s.Endpoint, "http:") {
		out = append(out, "endpoint must begin with https: "+p.Name+" speaks nothing else")
	}
	return out
}

func (s BucketSettings) open(p s3.Provider, id string, secret destination.Secret, c Common) (destination.Store, error) {
	return s3.Open(s3.Config{
		Provider: p, Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, Prefix: s.Prefix, AccessKeyID: id, SecretAccessKey: secret, CAFile: s.CAFile, Mark: c.Mark,
	})
}

// checkBucket looks at the name of a bucket, of which all providers want the same.
func checkBucket(name string) []string {
	if name != "" && (len(name) < 3 || len(name) > 63) {
		return []string{"bucket must have 3 to 63 characters"}
	}
	return missing("bucket", name, "the bucket in which archives are kept; it must exist")
}

// checkEndpoint looks at an endpoint, if there is one.
func checkEndpoint(endpoint string) []string {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return []string{"endpoint must be a URL such as https://storage.example.com"}
	}
	return nil
}

// checkPrefix makes sure that all keys of a prefix are keys.
func checkPrefix(prefix string) []string {
	if p := strings.Trim(prefix, "/"); p != "" && destination.CheckKey(p) != nil {
		return []string{"prefix must be a path of lower-case letters, digits, '.', '_' and '-', such as backups/holdfast"}
	}
	return nil
}

// s3Settings are those of Amazon and of MinIO.
type s3Settings struct {
	BucketSettings  `yaml:",inline"`
	AccessKeyID     string             `yaml:"access_key_id"` // empty, with the secret: as the tools of AWS find it
	SecretAccessKey destination.Secret `yaml:"secret_access_key"`
	Checksum        string             `yaml:"checksum"` // crc64nvme, or md5 for servers that know nothing else

	provider      s3.Provider
	needsEndpoint bool
}

// Check implements [Settings].
func (s *s3Settings) Check() []string {
	out := s.check(s.provider)
	if s.AccessKeyID != "" || s.SecretAccessKey != "" { // else they are looked for where AWS's tools do
		out = slices.Concat(out, missing("access_key_id", s.AccessKeyID, "the id of the access key"), missing("secret_access_key", string(s.SecretAccessKey), "its secret"))
	}
	if s.needsEndpoint {
		out = append(out, missing("endpoint", s.Endpoint, "the URL of the server, such as http://127.0.0.1:9000")...)
	}
	if s.Checksum != "" && s.Checksum != "crc64nvme" && s.Checksum != "md5" {
		out = append(out, "checksum must be crc64nvme or md5")
	}
	return out
}

// Open implements [Settings].
func (s *s3Settings) Open(_ context.Context, c Common) (destination.Store, error) {
	p := s.provider
	p.MD5 = s.Checksum == "md5"
	return s.open(p, s.AccessKeyID, s.SecretAccessKey, c)
}

// r2Settings are those of Cloudflare R2.
type r2Settings struct {
	BucketSettings  `yaml:",inline"`
	AccountID       string             `yaml:"account_id"`
	AccessKeyID     string             `yaml:"access_key_id"`
	SecretAccessKey destination.Secret `yaml:"secret_access_key"`
}

// Check implements [Settings].
func (s *r2Settings) Check() []string {
	out := slices.Concat(s.check(s3.R2), missing("access_key_id", s.AccessKeyID, "the id of an R2 API token"), missing("secret_access_key", string(s.SecretAccessKey), "its secret"))
	if s.Endpoint == "" {
		out = append(out, missing("account_id", s.AccountID, "the id of the Cloudflare account, from which the endpoint follows")...)
	}
	return out
}

// Open implements [Settings].
func (s *r2Settings) Open(_ context.Context, c Common) (destination.Store, error) {
	b := s.BucketSettings
	if b.Endpoint == "" {
		b.Endpoint = "https://" + s.AccountID + ".r2.cloudflarestorage.com"
	}
	return b.open(s3.R2, s.AccessKeyID, s.SecretAccessKey, c)
}

// backblazeSettings are those of Backblaze B2.
type backblazeSettings struct {
	BucketSettings `yaml:",inline"`
	KeyID          string             `yaml:"key_id"`
	ApplicationKey destination.Secret `yaml:"application_key"`
}

// Check implements [Settings].
func (s *backblazeSettings) Check() []string {
	return slices.Concat(s.check(s3.Backblaze), missing("key_id", s.KeyID, "the id of an application key; the master key does not work"),
		missing("application_key", string(s.ApplicationKey), "the application key"),
		missing("endpoint", s.Endpoint, "the bucket's S3 endpoint, such as https://s3.us-west-004.backblazeb2.com"))
}

// Open implements [Settings].
func (s *backblazeSettings) Open(_ context.Context, c Common) (destination.Store, error) {
	b := s.BucketSettings
	if b.Region == "" {
		b.Region = backblazeRegion(b.Endpoint)
	}
	return b.open(s3.Backblaze, s.KeyID, s.ApplicationKey, c)
}

// backblazeRegion returns the region that an endpoint names, or "".
func backblazeRegion(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	if l := strings.Split(u.Hostname(), "."); len(l) == 4 && l[0] == "s3" && l[2] == "backblazeb2" {
		return l[1]
	}
	return ""
}
