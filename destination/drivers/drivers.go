// Package drivers knows every kind of destination by its name in the
// configuration. A new one is a package beside it and a row here.
package drivers

import (
	"context"
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/local"
	"github.com/holdfast-dev/holdfast/destination/s3"
)

// Settings are what the configuration says of a destination. Their fields have
// yaml tags.
type Settings interface {
	// Check returns a sentence for each thing that is wrong, beginning with the
	// name of its key.
	Check() []string

	// Open opens the destination; only a local one is looked at. If the store is
	// an io.Closer the caller must close it.
	Open(ctx context.Context, c Common) (destination.Store, error)
}

// Common is what all destinations are told.
type Common struct {
	MinFree int64  // bytes that stay free on disks of this machine
	Mark    string // is put on every object, to know it again
}

var drivers = map[string]func() Settings{
	"local":     func() Settings { return &localSettings{} },
	"s3":        func() Settings { return &s3Settings{provider: s3.Amazon} },
	"minio":     func() Settings { return &s3Settings{provider: s3.MinIO, needsEndpoint: true} },
	"r2":        func() Settings { return &r2Settings{} },
	"backblaze": func() Settings { return &backblazeSettings{} },
	"gcs":       func() Settings { return &gcsSettings{} },
	"azure":     func() Settings { return &azureSettings{} },
}

// New returns empty settings for a destination, or false if there is no driver of
// this name.
func New(name string) (Settings, bool) {
	d, ok := drivers[name]
	if !ok {
		return nil, false
	}
	return d(), true
}

// Names returns the names of all drivers.
func Names() []string { return slices.Sorted(maps.Keys(drivers)) }

// localSettings are those of a folder of this machine.
type localSettings struct {
	Path string `yaml:"path"`
}

// Check implements [Settings].
func (s *localSettings) Check() []string {
	return missing("path", s.Path, "the folder in which archives are kept")
}

// Open implements [Settings].
func (s *localSettings) Open(_ context.Context, c Common) (destination.Store, error) {
	return local.Open(local.Config{Path: s.Path, MinFree: c.MinFree, Mark: c.Mark})
}

// missing returns a sentence when a required value is empty.
func missing(key, value, what string) []string {
	if value != "" {
		return nil
	}
	return []string{key + " is missing: " + what}
}
