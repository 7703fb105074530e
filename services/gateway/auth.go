package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// Level is how much a key may do with a resource.
type Level int

// Levels, each holding those before it.
const (
	None Level = iota
	Read
	Write
)

// ParseLevel reads none, read or write.
func ParseLevel(s string) (Level, bool) {
	i := slices.Index([]string{"none", "read", "write"}, s)
	return Level(max(i, 0)), i >= 0
}

// Key is an API key, without the key itself.
type Key struct {
	Name        string           // for people; becomes the actor of events
	Hash        string           // see HashKey
	Permissions map[string]Level // by resource, such as "backups"
	Projects    []string         // it may touch; "*" is all
	Expires     time.Time        // zero: never
}

// may reports whether the key may touch a project.
func (k Key) may(project string) bool {
	return slices.Contains(k.Projects, "*") || slices.Contains(k.Projects, project)
}

// only returns the projects that the key is restricted to, or nil for all.
func (k Key) only() []string {
	if slices.Contains(k.Projects, "*") {
		return nil
	}
	return append([]string{}, k.Projects...)
}

const (
	keyPrefix   = "sk_live_"
	keyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	keyLength   = 32
)

// NewKey returns a random key: the prefix sk_live_ and 32 letters and digits.
func NewKey() (string, error) {
	b := []byte(keyPrefix)
	for range keyLength {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(keyAlphabet))))
		if err != nil {
			return "", err
		}
		b = append(b, keyAlphabet[n.Int64()])
	}
	return string(b), nil
}

// HashKey returns what is kept of a key: "sha256:" and its sum in hex. Keys are
// random and long, so a slow hash would add nothing.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

const localKey = "key"

// authenticate finds the key of a request. What it is answered is for this key only:
// no cache may keep it.
func (g *Gateway) authenticate(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Vary(headerKey, fiber.HeaderAuthorization)
	k, err := g.keyIn(c.Get(headerKey), c.Get(fiber.HeaderAuthorization))
	if err != nil {
		return err
	}
	c.Locals(localKey, k)
	return c.Next()
}

const headerKey = "X-API-Key"

// keyIn returns the key that the headers X-API-Key and Authorization of a request hold.
func (g *Gateway) keyIn(secret, authorization string) (Key, error) {
	if scheme, token, ok := strings.Cut(authorization, " "); secret == "" && ok && strings.EqualFold(scheme, "bearer") {
		secret = token
	}
	if secret == "" {
		return Key{}, fault.Errorf(fault.Unauthenticated, "An API key is needed: send it in the header X-API-Key")
	}
	// The lookup goes by the hash, so its time says nothing of the key.
	k, ok := (*g.keys.Load())[HashKey(strings.TrimSpace(secret))]
	if !ok || !k.Expires.IsZero() && time.Now().After(k.Expires) {
		return Key{}, fault.Errorf(fault.Unauthenticated, "The API key is unknown or has expired")
	}
	return k, nil
}

func keyOf(c *fiber.Ctx) Key {
	k, _ := c.Locals(localKey).(Key)
	return k
}

var levelNames = map[Level]string{None: "none", Read: "read", Write: "write"}

// need refuses keys that may do less.
func need(resource string, level Level) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if keyOf(c).Permissions[resource] < level {
			return fault.Errorf(fault.Forbidden, "The API key lacks the permission %s:%s", resource, levelNames[level])
		}
		return c.Next()
	}
}
