package supabase

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/sirupsen/logrus"
)

var errorLine = regexp.MustCompile(`line (\d+)`)

// quiet keeps compose's own warnings about unset variables off the output of the
// daemon. [model.unset] has them.
var quiet = sync.OnceFunc(func() { logrus.SetLevel(logrus.ErrorLevel) })

// readEnv adds the variables of a file of NAME=value lines to env, as compose does:
// a variable that env has already stays as it is.
func readEnv(name string, read func(string) ([]byte, error), env map[string]string) error {
	b, err := read(name)
	if err != nil {
		return unreadableFile(name, err)
	}
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(b), func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	})
	if err != nil {
		return envError(name, err)
	}
	for k, v := range vars {
		if _, set := env[k]; !set {
			env[k] = v
		}
	}
	return nil
}

// unreadableFile says why a file cannot be read.
func unreadableFile(name string, err error) error {
	if outside, ok := errors.AsType[*outsideError](err); ok {
		return fmt.Errorf("%s cannot be read: %w; move the file there, %s", name, outside, allowPath)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s cannot be read: %w", name, err)
}

// envError says where a file of variables is wrong. The error of the parser would
// quote values.
func envError(name string, err error) error {
	if e, ok := errors.AsType[*template.MissingRequiredError](err); ok {
		return fmt.Errorf("%s: the variable %s is required and has no value", name, e.Variable)
	}
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: the lines up to here cannot be read as NAME=value; check names and quotes", name, m[1])
	}
	return fmt.Errorf("%s cannot be read as a list of NAME=value lines", name)
}
