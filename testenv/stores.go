package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Names and secrets of the servers in this file.
const (
	AccessKey    = "testroot"
	SecretKey    = "testsecret123"
	AzureAccount = "devstoreaccount1"
	// AzureKey is the one that Microsoft has published for its emulator.
	AzureKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// StoreServer is a server that keeps objects.
type StoreServer struct {
	URL string // without a slash at its end
	p   *process
	mk  func(ctx context.Context, bucket string, locks bool) error
}

// Bucket makes a bucket (Azure: a container) and returns its name. With locks its
// objects have versions, and can be locked against deletion.
func (s *StoreServer) Bucket(tb testing.TB, name string, locks bool) string {
	tb.Helper()
	if err := s.mk(tb.Context(), name, locks); err != nil {
		tb.Fatalf("bucket %s: %v", name, err)
	}
	return name
}

// s3Bucket makes buckets by way of the S3 API.
func s3Bucket(endpoint, region string) func(context.Context, string, bool) error {
	return func(ctx context.Context, name string, locks bool) error {
		c, err := S3Client(endpoint, region)
		if err != nil {
			return err
		}
		return c.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: region, ObjectLocking: locks})
	}
}

// S3Client returns a client of a server in this file.
func S3Client(endpoint, region string) (*minio.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	return minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: region, BucketLookup: minio.BucketLookupPath, Secure: u.Scheme == "https",
	})
}

// VersityConfig shapes [Versity].
type VersityConfig struct {
	Region     string // default us-east-1
	Versioning bool   // buckets can keep versions
}

// Versity starts versitygw, an S3 server that is as strict as Amazon's in regions
// and checksums.
func Versity(tb testing.TB, c VersityConfig) *StoreServer {
	tb.Helper()
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	port := strconv.Itoa(FreePort(tb))
	args := []string{"--quiet", "--port", "127.0.0.1:" + port, "--health", "/_/health", "--region", c.Region, "posix"}
	if c.Versioning {
		args = append(args, "--versioning-dir", tb.TempDir())
	}
	s := &StoreServer{URL: "http://127.0.0.1:" + port}
	s.mk = s3Bucket(s.URL, c.Region)
	s.p = startProcess(tb, []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}, tool("versitygw"), append(args, tb.TempDir())...)
	s.p.ready(tb, s.URL+"/_/health", http.StatusOK)
	return s
}

// MinIO starts a MinIO server.
func MinIO(tb testing.TB) *StoreServer {
	tb.Helper()
	port := strconv.Itoa(FreePort(tb))
	s := &StoreServer{URL: "http://127.0.0.1:" + port}
	s.mk = s3Bucket(s.URL, "us-east-1")
	s.p = startProcess(tb, []string{
		"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=1",
	}, tool("minio"), "server", "--quiet", "--anonymous", "--address", "127.0.0.1:"+port, tb.TempDir())
	s.p.ready(tb, s.URL+"/minio/health/ready", http.StatusOK)
	return s
}

// LyingS3 starts gofakes3: it takes wrong keys and wrong checksums and overwrites
// what it was told not to.
func LyingS3(tb testing.TB) *StoreServer {
	tb.Helper()
	port := strconv.Itoa(FreePort(tb))
	s := &StoreServer{URL: "http://127.0.0.1:" + port}
	s.mk = s3Bucket(s.URL, "us-east-1")
	s.p = startProcess(tb, nil, tool("gofakes3"), "-host", "127.0.0.1:"+port, "-backend", "memory")
	s.p.ready(tb, s.URL+"/", http.StatusOK)
	return s
}

// GCS starts fake-gcs-server. It keeps objects in memory, ignores
// credentials, and does not check the checksum of a resumable upload.
func GCS(tb testing.TB) *StoreServer {
	tb.Helper()
	port := strconv.Itoa(FreePort(tb))
	s := &StoreServer{URL: "http://127.0.0.1:" + port}
	s.p = startProcess(tb, nil, tool("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", port,
		"-public-host", "127.0.0.1:"+port, "-external-url", s.URL, "-backend", "memory", "-log-level", "error")
	s.p.ready(tb, s.URL+"/_internal/healthcheck", http.StatusOK)
	s.mk = func(ctx context.Context, name string, _ bool) error {
		body := strings.NewReader(fmt.Sprintf(`{"name": %q}`, name))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/storage/v1/b?project=test", body)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			return errors.Join(err, errors.New(res.Status))
		}
		return nil
	}
	return s
}

// Azurite starts Microsoft's emulator of Azure Blob Storage.
func Azurite(tb testing.TB) *StoreServer {
	tb.Helper()
	port := strconv.Itoa(FreePort(tb))
	s := &StoreServer{URL: "http://127.0.0.1:" + port + "/" + AzureAccount}
	s.p = startProcess(tb, nil, "node", filepath.Join(toolsDir(), "azurite/node_modules/azurite/dist/src/blob/main.js"),
		"--blobHost", "127.0.0.1", "--blobPort", port, "--location", tb.TempDir(), "--silent", "--skipApiVersionCheck", "--disableTelemetry")
	s.p.ready(tb, s.URL+"?comp=list", http.StatusForbidden)
	s.mk = func(ctx context.Context, name string, _ bool) error {
		key, err := azblob.NewSharedKeyCredential(AzureAccount, AzureKey)
		if err != nil {
			return err
		}
		c, err := azblob.NewClientWithSharedKeyCredential(s.URL, key, nil)
		if err != nil {
			return err
		}
		_, err = c.CreateContainer(ctx, name, nil)
		return err
	}
	return s
}

func tool(name string) string { return filepath.Join(toolsDir(), "bin", name) }
