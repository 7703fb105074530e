package supabase

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/holdfast-dev/holdfast/project"
)

// Where Supabase's images keep things.
const (
	storageTarget   = "/var/lib/storage"
	functionsTarget = "/home/deno/functions"
	rootKeyTarget   = "/etc/postgresql-custom"
)

// volumeRoots are where docker and podman keep volumes.
var volumeRoots = []string{"/var/lib/docker/volumes", "/var/lib/containers/storage/volumes"}

// mountedAt returns what a service mounts at a path of its container, and where the
// path lies below that.
func mountedAt(s types.ServiceConfig, target string) (v types.ServiceVolumeConfig, below string, ok bool) {
	longest := -1
	for _, x := range s.Volumes {
		at := path.Clean(x.Target)
		rest, found := strings.CutPrefix(target+"/", strings.TrimSuffix(at, "/")+"/")
		if found && len(at) > longest {
			longest, v, below, ok = len(at), x, path.Clean("/"+rest), true
		}
	}
	return v, below, ok
}

// placeOf returns the folder of this machine that a service sees at a path of its
// container, and describes it. ok is false if the service mounts nothing there. A
// folder outside of the scope is an outsideError.
func (f *found) placeOf(ctx context.Context, service, target string) (at project.Place, what string, ok bool, err error) {
	v, below, ok := mountedAt(f.m.service(service), target)
	if !ok {
		return at, "", false, nil
	}
	switch v.Type {
	case types.VolumeTypeBind:
		at, err = f.m.scope.place(filepath.Join(v.Source, below))
		return at, "the folder " + v.Source, true, err
	case types.VolumeTypeVolume:
		if v.Volume != nil && v.Volume.Subpath != "" {
			if below = filepath.Join(v.Volume.Subpath, below); !filepath.IsLocal(below) {
				return at, "the volume " + v.Source, true, errors.New("its subpath leads out of the volume")
			}
		}
		at, name, err := f.volume(ctx, v.Source, below)
		return at, "the volume " + name, true, err
	}
	return at, "", true, fmt.Errorf("it is a mount of the type %s, which keeps nothing", v.Type)
}

// dockerName is what Docker allows as the name of a volume or container. It cannot lead
// out of a folder, and is no option.
var dockerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// volume returns where a folder of a named volume lies: where its driver binds it,
// where docker says, or where docker keeps volumes by default. A link out of the place
// where docker keeps it is not followed.
func (f *found) volume(ctx context.Context, key, below string) (at project.Place, name string, err error) {
	v := f.m.project.Volumes[key]
	if name = v.Name; name == "" {
		name = f.m.project.Name + "_" + key
	}
	if !dockerName.MatchString(name) {
		return at, key, fmt.Errorf("the name of the volume %s is not one that docker allows", key)
	}
	if device := boundFolder(v); device != "" {
		at, err = f.m.scope.place(filepath.Join(device, below))
		return at, name, err
	}
	if other := f.volumeUser(ctx, name); other != "" {
		return at, name, fmt.Errorf("the containers that use the volume %s belong to the folder %s, not to %s", name, other, f.m.dir)
	}
	data := f.usualVolume(name)
	if out, err := f.docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", name); err == nil && filepath.IsAbs(strings.TrimSpace(out)) {
		data = filepath.Clean(strings.TrimSpace(out))
	}
	bound := filepath.Dir(filepath.Dir(data))
	if resolved, err := filepath.EvalSymlinks(data); err == nil {
		if root, rerr := filepath.EvalSymlinks(bound); rerr != nil || !within(resolved, root) {
			return at, name, fmt.Errorf("a link leads from %s out of %s", data, bound)
		}
	}
	return project.Place{Path: filepath.Join(data, below), Within: data}, name, nil
}

// usualVolume returns the folder in which docker or podman keeps a volume, if nobody can
// be asked.
func (f *found) usualVolume(name string) string {
	roots := volumeRoots
	if f.options.VolumeRoot != "" {
		roots = []string{f.options.VolumeRoot}
	}
	for _, root := range roots {
		if dir := filepath.Join(root, name, "_data"); isDir(dir) {
			return dir
		}
	}
	return filepath.Join(roots[0], name, "_data")
}

// volumeUser returns the folder of a compose project whose containers use a volume,
// while none of this folder does; "" if there is none, or nobody knows. The name of a
// volume alone does not show that it belongs to this project.
func (f *found) volumeUser(ctx context.Context, name string) (folder string) {
	out, err := f.docker(ctx, "ps", "--all", "--no-trunc", "--filter", "volume="+name, "--format", `{{.Label "`+labelFolder+`"}}`)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(out) {
		switch line = strings.TrimSpace(line); {
		case line == "":
		case sameFolder(line, f.m.dir), sameFolder(line, f.m.folder):
			return ""
		default:
			folder = line
		}
	}
	return folder
}

// boundFolder returns the folder that a volume stands for, or "".
func boundFolder(v types.VolumeConfig) string {
	options := "," + v.DriverOpts["o"] + ","
	if device := v.DriverOpts["device"]; (strings.Contains(options, ",bind,") || strings.Contains(options, ",rbind,")) && filepath.IsAbs(device) {
		return filepath.Clean(device)
	}
	return ""
}

// inheritVolumes gives services what volumes_from says, unless they mount something
// else at the same place.
func (m *model) inheritVolumes() {
	for _, services := range []types.Services{m.project.Services, m.project.DisabledServices} {
		for name, s := range services {
			for _, from := range s.VolumesFrom {
				from, _, _ = strings.Cut(strings.TrimPrefix(from, "container:"), ":")
				for _, v := range m.service(firstOf(m.serviceAt(from), from)).Volumes {
					if !slices.ContainsFunc(s.Volumes, func(own types.ServiceVolumeConfig) bool { return own.Target == v.Target }) {
						s.Volumes = append(s.Volumes, v)
					}
				}
			}
			services[name] = s
		}
	}
}

// mountsBelow returns what a service mounts below a path of its container, and how the
// places are called from there.
func mountsBelow(s types.ServiceConfig, target string) map[string]types.ServiceVolumeConfig {
	out := map[string]types.ServiceVolumeConfig{}
	for _, v := range s.Volumes {
		if rel, ok := strings.CutPrefix(path.Clean(v.Target), target+"/"); ok && (v.Type == types.VolumeTypeBind || v.Type == types.VolumeTypeVolume) {
			out[rel] = v
		}
	}
	return out
}
