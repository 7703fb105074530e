package s3_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/destinationtest"
	"github.com/holdfast-dev/holdfast/destination/s3"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestCredentialsAreLookedFor in the order of the tools of AWS, when none are
// configured. The service that gives a container its role is a stand-in.
func TestCredentialsAreLookedFor(t *testing.T) {
	for name, set := range map[string]func(t *testing.T){
		"environment": func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", testenv.AccessKey)
			t.Setenv("AWS_SECRET_ACCESS_KEY", testenv.SecretKey)
		},
		"shared file": func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "credentials")
			text := "[backups]\naws_access_key_id = " + testenv.AccessKey + "\naws_secret_access_key = " + testenv.SecretKey + "\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			t.Setenv("AWS_PROFILE", "backups")
		},
		"role of a container": func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(map[string]any{"AccessKeyId": testenv.AccessKey, "SecretAccessKey": testenv.SecretKey, "Expiration": time.Now().Add(time.Hour)})
			}))
			t.Cleanup(srv.Close)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			nowhere(t)
			set(t)
			s := versity(t).open(t, keyless)
			if err := destination.Probe(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		nowhere(t)
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/")
		s := versity(t).open(t, keyless, func(c *s3.Config) { c.Retry = quick; c.Retry.Tries = 2 })
		destinationtest.TestRefused(t, s, destination.ErrDenied, "no access key is configured and none was found in AWS_ACCESS_KEY_ID")
	})
}

func keyless(c *s3.Config) { c.AccessKeyID, c.SecretAccessKey = "", "" }

// nowhere hides what the machine that runs the tests has.
func nowhere(t *testing.T) {
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
}
