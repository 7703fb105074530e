package supabase

import (
	"bytes"
	"errors"
	"fmt"
	"os"
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
func readEnv(name string, env map[string]string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", name, errors.Unwrap(err))
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
