package config

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// validateKeys finds what is wrong with the API keys. A key that has expired is no
// mistake: it may do nothing.
func (f *file) validateKeys(c *Config) {
	seen := map[string]int{}
	for i, k := range c.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		if k.Name == "" {
			f.about(path+".name", "is missing")
		}
		if !keyHash.MatchString(k.Hash) {
			f.about(path+".hash", "must be sha256: and 64 hex digits; `holdfastd keys new` prints it")
		} else if first, ok := seen[k.Hash]; ok {
			f.about(path+".hash", "is that of keys[%d]: one key cannot have two sets of permissions", first)
		} else {
			seen[k.Hash] = i
		}
		if _, named := f.lines[path+".projects"]; named && k.Projects == nil {
			f.about(path+".projects", "has no value; write [] for no project, or [\"*\"] for all")
		}
		for _, resource := range slices.Sorted(maps.Keys(k.Permissions)) {
			level := k.Permissions[resource]
			if resource != "backups" || level != "none" && level != "read" && level != "write" {
				f.about(path+".permissions."+resource, "is not known; there is backups: none, read or write")
			}
		}
		if _, err := k.ExpiresAt(); err != nil {
			f.about(path+".expires", "must be a time such as 2027-01-01T00:00:00Z")
		}
	}
}

// ExpiresAt returns when the key ends, or the zero time if it does not.
func (k Key) ExpiresAt() (time.Time, error) {
	if k.Expires == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, k.Expires)
}
