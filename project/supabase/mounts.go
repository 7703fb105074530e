package supabase

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
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

// folderOf returns the folder of this machine that a service sees at a path of its
// container. ok is false if the service mounts nothing there.
func (f *found) folderOf(ctx context.Context, service, target string) (dir, what string, ok bool, err error) {
	v, below, ok := mountedAt(f.m.service(service), target)
	if !ok {
		return "", "", false, nil
	}
	switch v.Type {
	case types.VolumeTypeBind:
		return filepath.Join(v.Source, below), "the folder " + v.Source, true, nil
	case types.VolumeTypeVolume:
		root, name, err := f.volume(ctx, v.Source)
		if v.Volume != nil {
			root = filepath.Join(root, v.Volume.Subpath)
		}
		return filepath.Join(root, below), "the volume " + name, true, err
	}
	return "", "", true, fmt.Errorf("it is a mount of the type %s, which keeps nothing", v.Type)
}

// volumeName is what Docker allows. It cannot lead out of a folder.
var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// volume returns where a named volume lies: where its driver binds it, where docker
// says, or where docker keeps volumes by default.
func (f *found) volume(ctx context.Context, key string) (dir, name string, err error) {
	v := f.m.project.Volumes[key]
	if name = v.Name; name == "" {
		name = f.m.project.Name + "_" + key
	}
	if !volumeName.MatchString(name) {
		return "", key, fmt.Errorf("the name of the volume %s is not one that docker allows", key)
	}
	if device := boundFolder(v); device != "" {
		return device, name, nil
	}
	if out, err := f.docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", name); err == nil && filepath.IsAbs(strings.TrimSpace(out)) {
		return filepath.Clean(strings.TrimSpace(out)), name, nil
	}
	roots := volumeRoots
	if f.options.VolumeRoot != "" {
		roots = []string{f.options.VolumeRoot}
	}
	for _, root := range roots {
		if dir = filepath.Join(root, name, "_data"); isDir(dir) {
			return dir, name, nil
		}
	}
	return filepath.Join(roots[0], name, "_data"), name, nil
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
