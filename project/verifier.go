package project

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // PostgreSQL's old method
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// verifierMethod is how a server makes what it keeps of a password.
type verifierMethod struct {
	md5        bool // password_encryption = md5
	iterations int  // of SCRAM
}

const (
	scramPrefix    = "SCRAM-SHA-256$"
	md5Prefix      = "md5"
	scramSalt      = 16 // bytes
	scramDefault   = 4096
	maxIterations  = 10_000_000 // more would take longer than a login may
	serverKeyLabel = "Server Key"
	clientKeyLabel = "Client Key"
)

// newVerifier makes what the server keeps of a password of a role. Statements with it
// do not show the password, wherever they are logged.
func newVerifier(m verifierMethod, role, password string) (string, error) {
	if m.md5 {
		return md5Verifier(role, password), nil
	}
	salt := make([]byte, scramSalt)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return scramVerifier(prepare(password), salt, m.iterations)
}

// verifies reports whether the server accepts the password for a role of which it
// keeps this verifier.
func verifies(verifier, role, password string) bool {
	if strings.HasPrefix(verifier, md5Prefix) {
		return subtle.ConstantTimeCompare([]byte(verifier), []byte(md5Verifier(role, password))) == 1
	}
	rest, ok := strings.CutPrefix(verifier, scramPrefix)
	head, _, keys := strings.Cut(rest, "$")
	iterations, salt64, salted := strings.Cut(head, ":")
	n, err := strconv.Atoi(iterations)
	if !ok || !keys || !salted || err != nil || n < 1 || n > maxIterations {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		return false
	}
	want, err := scramVerifier(prepare(password), salt, n)
	return err == nil && subtle.ConstantTimeCompare([]byte(verifier), []byte(want)) == 1
}

func scramVerifier(prepared string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(sign(salted, clientKeyLabel))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, iterations, b64(salt), b64(stored[:]), b64(sign(salted, serverKeyLabel))), nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func md5Verifier(role, password string) string {
	sum := md5.Sum([]byte(password + role)) //nolint:gosec // see above
	return md5Prefix + hex.EncodeToString(sum[:])
}

// prepare returns a password as PostgreSQL hashes it: normalized by SASLprep, or as it
// is if SASLprep does not allow it.
func prepare(password string) string {
	if !strings.ContainsFunc(password, func(r rune) bool { return r > 127 }) {
		return password
	}
	out, err := stringprep.SASLprep.Prepare(password)
	if err != nil || out == "" {
		return password
	}
	return out
}
