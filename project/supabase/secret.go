package supabase

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// secret reads a file that a service is given a password in, such as
// /run/secrets/db_password. variable is the one that names the file.
func (m *model) secret(service, file, variable string) (string, error) {
	s := m.service(service)
	for _, ref := range s.Secrets {
		target := firstOf(ref.Target, ref.Source)
		if !path.IsAbs(target) {
			target = "/run/secrets/" + target
		}
		if target != path.Clean(file) {
			continue
		}
		x := m.project.Secrets[ref.Source]
		switch {
		case x.Content != "":
			return x.Content, nil
		case x.Environment != "":
			return m.env[x.Environment], nil
		case x.File != "":
			return m.readSecret(x.File)
		}
	}
	if v, below, ok := mountedAt(s, path.Clean(file)); ok && v.Type == types.VolumeTypeBind {
		return m.readSecret(filepath.Join(v.Source, below))
	}
	return "", fmt.Errorf("%s: %s of the service %s names a file that is on this machine nowhere; set database.url", m.where("services."+service), variable, service)
}

func (m *model) readSecret(name string) (string, error) {
	b, err := m.read(name)
	if outside, ok := errors.AsType[*outsideError](err); ok {
		return "", fmt.Errorf("the password of the database cannot be read: %w; set database.url, %s", outside, allowPath)
	}
	if err != nil {
		return "", fmt.Errorf("the password of the database cannot be read: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
