package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/services/gateway"
)

// adminKeyFile keeps the hash of the key of the first start.
const adminKeyFile = "admin-key.sha256"

// apiKeys returns the keys of the configuration, or the admin key, which is made
// and printed at the first start.
func apiKeys(c config.Config, log *zap.Logger, stderr io.Writer) ([]gateway.Key, error) {
	if len(c.Keys) == 0 {
		hash, err := adminKey(c, stderr)
		return []gateway.Key{{Name: "admin", Hash: hash, Permissions: map[string]gateway.Level{"backups": gateway.Write}, Projects: []string{"*"}}}, err
	}
	var keys []gateway.Key
	for _, k := range c.Keys {
		expires, err := k.ExpiresAt()
		if err != nil {
			return nil, err
		}
		key := gateway.Key{Name: k.Name, Hash: k.Hash, Projects: k.Projects, Permissions: map[string]gateway.Level{}, Expires: expires}
		if key.Projects == nil { // an empty list is no project
			key.Projects = []string{"*"}
		}
		for resource, level := range k.Permissions {
			key.Permissions[resource], _ = gateway.ParseLevel(level) // validated with the file
		}
		if expired(expires) {
			log.Warn("an API key has expired and is refused", zap.String("key", k.Name), zap.Time("expired", expires))
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// expired reports whether a key with this end may do nothing any more.
func expired(end time.Time) bool { return !end.IsZero() && time.Now().After(end) }

func adminKey(c config.Config, stderr io.Writer) (hash string, err error) {
	path := filepath.Join(c.DataDir, adminKeyFile)
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	key, err := gateway.NewKey()
	if err != nil {
		return "", err
	}
	hash = gateway.HashKey(key)
	if err := os.WriteFile(path, []byte(hash+"\n"), 0o600); err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(stderr, "API key, shown only this once: %s\n", key)
	return hash, err
}
