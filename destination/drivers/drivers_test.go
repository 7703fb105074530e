package drivers_test

import (
	"encoding/json"
	"fmt"
	"reflect"
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

// TestSettingsHideTheirSecrets however they are printed.
func TestSettingsHideTheirSecrets(t *testing.T) {
	for name, text := range map[string]string{"s3": "secret_access_key", "minio": "secret_access_key", "r2": "secret_access_key", "backblaze": "application_key", "azure": "account_key"} {
		s, _ := drivers.New(name)
		v := reflect.ValueOf(s).Elem()
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == text {
				v.Field(i).SetString("h0riz0n")
			}
		}
		asJSON, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if all := fmt.Sprintf("%v %+v %#v %s", s, s, s, asJSON); strings.Contains(all, "h0riz0n") || !strings.Contains(all, "***") {
			t.Errorf("%s: %s", name, all)
		}
	}
}
