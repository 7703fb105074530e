// Package drivers knows every kind of destination by its name in the
// configuration. A new one is a package beside it and a row here.
package drivers

import (
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/local"
)

// Settings are what the configuration says of a destination. Their fields have
// yaml tags.
type Settings interface {
	// Check returns a sentence for each thing that is wrong, beginning with the
	// name of its key.
	Check() []string

	// Open opens the destination. If the store is an io.Closer the caller must
	// close it.
	Open(c Common) (destination.Store, error)
}

// Common is what all destinations are told.
type Common struct {
	MinFree int64 // bytes that stay free on disks of this machine
}

var drivers = map[string]func() Settings{
	"local": func() Settings { return &localSettings{} },
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
	if s.Path == "" {
		return []string{"path is missing: the folder in which archives are kept"}
	}
	return nil
}

// Open implements [Settings].
func (s *localSettings) Open(c Common) (destination.Store, error) {
	return local.Open(local.Config{Path: s.Path, MinFree: c.MinFree})
}
