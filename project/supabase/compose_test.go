package supabase_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-dev/holdfast/project/supabase"
)

// TestComposeMeansTheSame compares what is read of the layouts with what
// `docker compose config` says.
func TestComposeMeansTheSame(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "docker", "compose", "version").CombinedOutput(); err != nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		t.Skipf("there is no `docker compose` to compare with: %v: %s", err, first)
	}
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) { compare(t, layoutFolder(t, name)) })
	}
	t.Run("values", func(t *testing.T) { compare(t, folder(t, valuesFolder())) })
	for name, c := range databaseCases {
		if c.lenient {
			continue
		}
		t.Run(name, func(t *testing.T) { compare(t, folder(t, c.files)) })
	}
}

// compare compares what is read of a folder with what compose says. What one of them
// refuses the other must refuse as well.
func compare(t *testing.T, dir string) {
	t.Helper()
	own, environment, err := supabase.Composed(t.Context(), dir)
	out, cerr := dockerComposeConfig(t.Context(), dir)
	if err != nil || cerr != nil {
		if err == nil || cerr == nil {
			t.Errorf("compose says %v, the reader %v", cerr, err)
		}
		return
	}
	got, want := readComposed(t, own), readComposed(t, out)
	for service, s := range got.Services {
		s.Environment = environment[service]
		got.Services[service] = s
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("compose (-) and what is read (+):\n%s", diff)
	}
}

// dockerComposeConfig asks compose as the operator of the layout does: run.sh names the
// files that CONFIG chooses, and Portainer names stack.env.
func dockerComposeConfig(ctx context.Context, dir string) ([]byte, error) {
	args := []string{"compose"}
	if _, err := os.Stat(filepath.Join(dir, "stack.env")); err == nil {
		args = append(args, "--env-file", "stack.env")
	}
	env, _ := os.ReadFile(filepath.Join(dir, ".env")) // there may be none
	if _, rest, ok := strings.Cut("\n"+string(env), "\nCONFIG="); ok {
		chosen, _, _ := strings.Cut(rest, "\n")
		args = append(args, "-f", "docker-compose.yml")
		for word := range strings.FieldsSeq(strings.Trim(chosen, `"`)) {
			args = append(args, "-f", "docker-compose."+word+".yml")
		}
	}
	cmd := exec.CommandContext(ctx, "docker", append(args, "config", "--format", "json", "--no-consistency")...)
	cmd.Dir = dir
	for _, v := range []string{"PATH", "HOME", "DOCKER_CONFIG"} {
		if value, ok := os.LookupEnv(v); ok {
			cmd.Env = append(cmd.Env, v+"="+value)
		}
	}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.Join(err, errors.New(string(exit.Stderr)))
	}
	return out, err
}

// composed is what matters of a project.
type composed struct {
	Name     string
	Services map[string]composedService
	Volumes  map[string]struct {
		Name       string
		DriverOpts map[string]string `json:"driver_opts"`
	}
	Secrets map[string]struct{ File, Environment string }
}

type composedService struct {
	Image         string
	ContainerName string `json:"container_name"`
	Hostname      string
	NetworkMode   string `json:"network_mode"`
	Command       []string
	Environment   map[string]string
	ExtraHosts    []string `json:"extra_hosts"`
	Links         []string
	Ports         []struct {
		Target              int
		Published, Protocol string
		HostIP              string `json:"host_ip"`
	}
	Volumes []struct {
		Type, Source, Target string
		Volume               *struct{ Subpath string }
	}
	VolumesFrom []string `json:"volumes_from"`
	Secrets     []struct{ Source, Target string }
}

// readComposed reads a project. Compose writes $ as $$, so that its output can be read
// again.
func readComposed(t *testing.T, b []byte) (c composed) {
	t.Helper()
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	for name, s := range c.Services {
		for k, v := range s.Environment {
			s.Environment[k] = strings.ReplaceAll(v, "$$", "$")
		}
		for i, v := range s.Command {
			s.Command[i] = strings.ReplaceAll(v, "$$", "$")
		}
		if s.VolumesFrom != nil { // what the others mount has been added
			s.Volumes = nil
			c.Services[name] = s
		}
	}
	return c
}
