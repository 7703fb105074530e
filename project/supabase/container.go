package supabase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// inspected is what is of interest of a container.
type inspected struct {
	Name            string
	Config          struct{ Labels map[string]string }
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, GlobalIPv6Address string }
	}
}

// Labels that compose gives to its containers.
const (
	labelFolder  = "com.docker.compose.project.working_dir"
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
)

// container returns the address of the database's container, or why there is none.
// A container of another folder is never taken, whatever its name is.
func (f *found) container(ctx context.Context, d database) (host, why string) {
	service := f.m.networkOwner(d.service)
	name := f.m.service(service).ContainerName
	if name == "" {
		name = f.m.project.Name + "-" + service + "-1"
	}
	if !dockerName.MatchString(name) { // docker could take it for an option
		return "", "the container name " + name + " is not one that docker allows"
	}
	c, err := f.inspect(ctx, name)
	if err != nil {
		why = fmt.Sprintf("`docker inspect %s` failed: %v", name, err)
	} else if why = f.foreign(c); why == "" {
		return c.address(d.port)
	}
	if at := f.labelled(ctx, service, d.port); at != "" {
		return at, ""
	}
	return "", why
}

// labelled returns the address of the container that compose has made of a service of
// this folder, or "".
func (f *found) labelled(ctx context.Context, service, port string) (host string) {
	out, err := f.docker(ctx, "ps", "--quiet", "--no-trunc", "--filter", "label="+labelFolder+"="+f.m.dir, "--filter", "label="+labelService+"="+service)
	if ids := strings.Fields(out); err == nil && len(ids) > 0 {
		if c, err := f.inspect(ctx, ids[0]); err == nil && f.foreign(c) == "" {
			host, _ = c.address(port)
		}
	}
	return host
}

func (f *found) inspect(ctx context.Context, name string) (inspected, error) {
	out, err := f.docker(ctx, "inspect", name)
	if err != nil {
		return inspected{}, err
	}
	var all []inspected
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) == 0 {
		return inspected{}, errors.New("its answer is not what docker answers")
	}
	return all[0], nil
}

// foreign returns why a container is not one of this folder; "" if it is one.
func (f *found) foreign(c inspected) string {
	name, labels := strings.TrimPrefix(c.Name, "/"), c.Config.Labels
	folder := labels[labelFolder]
	switch {
	case folder != "" && (sameFolder(folder, f.m.dir) || sameFolder(folder, f.m.folder)):
	case folder != "":
		return fmt.Sprintf("the container %s belongs to the folder %s, not to %s", name, folder, f.m.dir)
	case labels[labelProject] == "":
		return fmt.Sprintf("the container %s was not made by compose, so nothing says that it belongs to %s", name, f.m.dir)
	case labels[labelProject] != f.m.project.Name:
		return fmt.Sprintf("the container %s belongs to the compose project %s, not to %s", name, labels[labelProject], f.m.project.Name)
	}
	return ""
}

func sameFolder(a, b string) bool {
	ra, erra := filepath.EvalSymlinks(a)
	rb, errb := filepath.EvalSymlinks(b)
	return filepath.Clean(a) == filepath.Clean(b) || erra == nil && errb == nil && ra == rb
}

// address returns where a container can be reached from this machine.
func (c inspected) address(port string) (host, why string) {
	for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
		n := c.NetworkSettings.Networks[name]
		for _, text := range []string{n.IPAddress, n.GlobalIPv6Address} {
			if ip, err := netip.ParseAddr(text); err == nil {
				return net.JoinHostPort(ip.String(), port), ""
			}
		}
	}
	return "", fmt.Sprintf("the container %s has no address; is it running?", strings.TrimPrefix(c.Name, "/"))
}

const dockerTimeout = 15 * time.Second

// dockerCommand returns the command that knows the containers of this machine.
func dockerCommand() string {
	for _, name := range []string{"docker", "podman"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	return "docker"
}

func (f *found) docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, f.options.Docker, args...).Output() //nolint:gosec // the operator's docker
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return "", errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
