package project

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// isExample reports whether a file of this name shows how another one is written.
func isExample(base string) bool {
	return slices.Contains([]string{".example", ".sample", ".template", ".dist", ".tmpl"}, path.Ext(base))
}

// isSecret reports whether a file of this name holds secrets: .env and its kin, keys.
func isSecret(base string) bool {
	return base == ".env" || strings.HasPrefix(base, ".env.") || slices.Contains([]string{".env", ".key", ".pem", ".p12", ".pfx"}, path.Ext(base))
}

var composeName = regexp.MustCompile(`^(docker-)?(compose|stack)([.-].*)?\.ya?ml$`)

// isDeployment reports whether a file of this name says where the services are.
func isDeployment(base string) bool { return composeName.MatchString(base) }

var composeKey = regexp.MustCompile(`(?m)^(\x{feff})?["']?(services|include)["']?\s*:`)

// maxCompose is more than any compose file has.
const maxCompose = 4 << 20

// isComposeFile reports whether a file is a compose file, whatever its name is.
func isComposeFile(root *os.File, name string) bool {
	if !slices.Contains([]string{".yml", ".yaml"}, path.Ext(name)) || isLarge(root, name, maxCompose) {
		return false
	}
	b, err := readBeneath(root, name)
	return err == nil && composeKey.Match(b)
}
