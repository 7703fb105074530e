package testenv_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/testenv"
)

func TestStoreServersStart(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *testenv.StoreServer{
		"versitygw": func(tb testing.TB) *testenv.StoreServer {
			return testenv.Versity(tb, testenv.VersityConfig{Versioning: true})
		},
		"minio": testenv.MinIO, "gofakes3": testenv.LyingS3, "fake-gcs-server": testenv.GCS, "azurite": testenv.Azurite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t).Bucket(t, "holdfast", false)
		})
	}
}
