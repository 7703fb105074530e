package drivers_test

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/destination/drivers"
)

// TestEmptySettingsSayWhatIsMissing: each required key has a sentence of its own.
func TestEmptySettingsSayWhatIsMissing(t *testing.T) {
	want := map[string]string{
		"local": "path", "s3": "bucket", "minio": "bucket endpoint",
		"r2": "bucket access_key_id secret_access_key account_id", "backblaze": "bucket key_id application_key endpoint", "gcs": "bucket",
		"azure": "account_name account_key container",
	}
	if got := len(drivers.Names()); got != len(want) {
		t.Errorf("%d drivers, want %d", got, len(want))
	}
	for name, keys := range want {
		s, ok := drivers.New(name)
		if !ok {
			t.Errorf("there is no driver %s", name)
			continue
		}
		var got []string
		for _, sentence := range s.Check() {
			key, rest, _ := strings.Cut(sentence, " ")
			if !strings.HasPrefix(rest, "is missing: ") {
				t.Errorf("%s: %q", name, sentence)
			}
			got = append(got, key)
		}
		if strings.Join(got, " ") != keys {
			t.Errorf("%s lacks %q, want %q", name, got, keys)
		}
	}
}
