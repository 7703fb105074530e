package supabase

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// dataTargets are where images of databases and the like keep what they change while
// they run. Such a folder is no configuration, and no restore may write into it.
var dataTargets = []string{
	"/var/lib/postgresql", "/var/lib/mysql", "/var/lib/mariadb", "/data/db", "/var/lib/mongodb", "/var/lib/redis", "/var/lib/valkey",
	"/var/lib/clickhouse", "/var/lib/influxdb", "/var/lib/rabbitmq", "/var/lib/kafka", "/var/lib/elasticsearch", "/usr/share/elasticsearch/data", "/usr/share/opensearch/data",
	"/var/lib/grafana", "/prometheus", "/var/lib/prometheus", "/var/lib/cassandra", "/var/lib/neo4j", "/qdrant/storage", "/var/lib/weaviate", "/var/lib/milvus",
	"/home/node/.n8n", "/var/lib/minio", "/bitnami",
}

// dataImages keep their data in /data.
var dataImages = []string{"redis", "valkey", "keydb", "dragonfly", "minio", "rustfs", "neo4j", "mongo", "loki", "gitea"}

// dataFolders returns the folders of this machine in which running services keep
// their data, as the compose files mount them.
func (m *model) dataFolders() (out []string) {
	for _, s := range m.services() {
		for _, v := range s.Volumes {
			dir := ""
			switch v.Type {
			case types.VolumeTypeBind:
				dir = v.Source
			case types.VolumeTypeVolume:
				dir = boundFolder(m.project.Volumes[v.Source])
			}
			if dir != "" && !v.ReadOnly && isDir(dir) && holdsData(s, path.Clean(v.Target)) {
				out = append(out, dir)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// holdsData reports whether a service keeps its data at, above or below a path of
// its container.
func holdsData(s types.ServiceConfig, target string) bool {
	known := slices.Clone(dataTargets)
	for _, v := range []string{"PGDATA", "MINIO_VOLUMES", "RUSTFS_VOLUMES"} {
		if value := s.Environment[v]; value != nil && strings.HasPrefix(*value, "/") {
			known = append(known, path.Clean(*value))
		}
	}
	image := imageName(s.Image)
	if slices.Contains(dataImages, image[strings.LastIndexByte(image, '/')+1:]) {
		known = append(known, "/data")
	}
	return slices.ContainsFunc(known, func(k string) bool {
		return within(target, k) || within(k, target) && target != "/" && strings.Count(target, "/") > 1
	})
}

// within reports whether a path is another one or lies below it.
func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/")
}

// relative returns the names below root of those folders that lie in it.
func relative(root string, folders []string) (out []string) {
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil
	}
	for _, dir := range folders {
		if r, err := filepath.EvalSymlinks(dir); err == nil {
			dir = r
		}
		if rel, err := filepath.Rel(resolved, dir); err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../") {
			out = append(out, rel)
		}
	}
	return out
}
