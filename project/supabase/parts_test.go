package supabase_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

// describe returns where the files of a project lie, or why they cannot be found.
func describe(p project.Project, dir string) string {
	var out []string
	for _, part := range p.Parts {
		switch x := part.(type) {
		case *project.StoragePart:
			out = append(out, append([]string{"storage " + x.Path + " " + x.Tenant}, x.Apart...)...)
		case *project.FunctionsPart:
			out = append(out, append([]string{"functions " + x.Path}, x.Apart...)...)
		case *project.ConfigPart:
			out = append(out, "config "+x.Root+" without "+strings.Join(x.Data, " "))
		case *project.UnavailablePart:
			out = append(out, "no "+x.Part+": "+x.Sentence)
		}
	}
	for _, a := range p.Absent {
		out = append(out, fmt.Sprintf("absent %s %t %s", a.Part, a.Chosen, a.Sentence))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir, "DIR")
}

const upstreamStorage = `  storage:
    image: supabase/storage-api:v1
    environment: {STORAGE_BACKEND: %s, FILE_STORAGE_BACKEND_PATH: /var/lib/storage, TENANT_ID: "${STORAGE_TENANT_ID:-stub}", GLOBAL_S3_BUCKET: bucket}
    volumes: ["%s:/var/lib/storage:z"]
`

func storageAt(source string) string {
	return "services:\n" + fmt.Sprintf(upstreamStorage, "file", source)
}

func TestPartsAreWhereTheServicesMountThem(t *testing.T) {
	disk := t.TempDir()
	for name, c := range map[string]struct {
		compose string
		env     string
		options supabase.Options
		want    []string
	}{
		"a relative folder":        {compose: storageAt("./volumes/storage"), want: []string{"storage DIR/volumes/storage bucket/stub"}},
		"a nested default":         {compose: storageAt("./volumes/storage"), env: "TENANT_FALLBACK=x\nSTORAGE_TENANT_ID=${TENANT:-${TENANT_FALLBACK:-stub}}\n", want: []string{"storage DIR/volumes/storage bucket/x"}},
		"an absolute folder":       {compose: storageAt(disk), want: []string{"storage " + disk}},
		"a disk that is not there": {compose: storageAt(disk + "/not-mounted"), want: []string{"no storage: ", "docker-compose.yml:2: the service storage keeps its files in the folder " + disk + "/not-mounted", "storage.path", "storage: none"}},
		"a volume": {
			compose: storageAt("storage-data") + "volumes: {storage-data: }\n", want: []string{"storage VOLUMES/my-project_storage-data/_data bucket/stub"},
		},
		"an external volume": {
			compose: storageAt("storage-data") + "volumes: {storage-data: {external: true, name: shared}}\n", want: []string{"storage VOLUMES/shared/_data"},
		},
		"a volume that is not there": {
			compose: storageAt("storage-data") + "volumes: {storage-data: {name: none}}\n", want: []string{"no storage: ", "in the volume none", "VOLUMES/none/_data is not there", "storage.path"},
		},
		"a volume that leads out": {
			compose: storageAt("storage-data") + "volumes: {storage-data: {name: ../../etc}}\n", want: []string{"no storage: ", "is not one that docker allows"},
		},
		"a volume bound elsewhere": {
			compose: storageAt("storage-data") + "volumes: {storage-data: {driver_opts: {type: none, o: bind, device: " + disk + "}}}\n", want: []string{"storage " + disk},
		},
		"a folder above": {
			compose: "services: {storage: {image: supabase/storage-api, volumes: [\"" + disk + ":/var/lib\"]}}\n", want: []string{"no storage: ", disk + "/storage is not there"},
		},
		"another backend path": {
			compose: "services: {storage: {image: supabase/storage-api, environment: {STORAGE_FILE_BACKEND_PATH: /mnt/x}, volumes: [\"" + disk + ":/mnt\", \"./volumes/storage:/mnt/x\"]}}\n", want: []string{"storage DIR/volumes/storage"},
		},
		"nothing mounted": {
			compose: "services: {storage: {image: supabase/storage-api}}\n", want: []string{"no storage: ", "the service storage mounts nothing at /var/lib/storage"},
		},
		"tmpfs": {
			compose: "services: {storage: {image: supabase/storage-api, volumes: [{type: tmpfs, target: /var/lib/storage}]}}\n", want: []string{"no storage: ", "tmpfs"},
		},
		"renamed": {
			compose: "services: {files: {image: \"ghcr.io/supabase/storage-api:v1\", volumes: [\"" + disk + ":/var/lib/storage\"]}}\n", want: []string{"storage " + disk},
		},
		"settings from an env_file": {
			compose: "services: {storage: {image: supabase/storage-api, env_file: [storage.env], volumes: [\"./volumes/storage:/var/lib/storage\"]}}\n", want: []string{"storage DIR/volumes/storage filed/tenant"},
		},
		"S3":                        {compose: "services:\n" + fmt.Sprintf(upstreamStorage, "s3", "./volumes/storage"), want: []string{"no storage: ", "\"s3\"", "S3 cannot be backed up yet", "storage: none"}},
		"S3 that nobody wants":      {compose: "services:\n" + fmt.Sprintf(upstreamStorage, "s3", "./volumes/storage"), options: supabase.Options{Storage: supabase.Storage{None: true}}, want: []string{"absent storage true"}},
		"S3 that is elsewhere":      {compose: "services:\n" + fmt.Sprintf(upstreamStorage, "s3", "./volumes/storage"), options: supabase.Options{Storage: supabase.Storage{Path: disk}}, want: []string{"storage " + disk + " bucket/stub"}},
		"corrected":                 {compose: storageAt("/none"), options: supabase.Options{Storage: supabase.Storage{Path: disk, Tenant: "a/b"}}, want: []string{"storage " + disk + " a/b"}},
		"the usual place":           {compose: "services: {db: {image: supabase/postgres}}\n", want: []string{"storage DIR/volumes/storage stub/stub", "functions DIR/volumes/functions"}},
		"functions elsewhere":       {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"" + disk + ":/home/deno/functions:Z\"]}}\n", want: []string{"functions " + disk}},
		"functions that are away":   {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"/srv/none:/home/deno/functions\"]}}\n", want: []string{"no functions: ", "/srv/none is not there", "functions.path", "functions: none"}},
		"functions nobody wants":    {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"/srv/none:/home/deno/functions\"]}}\n", options: supabase.Options{Functions: supabase.Functions{None: true}}, want: []string{"absent functions true"}},
		"functions one by one":      {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"./volumes/functions/main:/home/deno/functions/main\", \"./volumes/functions/a/index.ts:/home/deno/functions/a/index.ts\"]}}\n", want: []string{"functions DIR/volumes/functions"}},
		"functions from two places": {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"./volumes/functions/main:/home/deno/functions/main\", \"../files/fn/main:/home/deno/functions/other\"]}}\n", want: []string{"no functions: ", "docker-compose.yml:1: the service functions mounts functions from several places: DIR/volumes/functions/main, PARENT/files/fn/main", "functions.path"}},
		"functions, main service":   {compose: "services: {functions: {image: supabase/edge-runtime, command: [start, --main-service, /srv/fn/main], volumes: [\"../files/fn:/srv/fn\"]}}\n", want: []string{"functions PARENT/files/fn"}},
		"functions from elsewhere":  {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"./volumes/functions:/home/deno/functions\", \"./main.ts:/home/deno/functions/main/index.ts\", \"" + disk + ":/home/deno/functions/shared\", \"libs:/home/deno/functions/libs\"]}}\nvolumes: {libs: }\n", want: []string{"functions DIR/volumes/functions\nThe service functions mounts libs at /home/deno/functions/libs: it does not lie in DIR/volumes/functions, so the backup does not hold it.\nThe service functions mounts " + disk + " at /home/deno/functions/shared"}},
		"functions of a part":       {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [{type: volume, source: shared, target: /home/deno/functions, volume: {subpath: fn}}]}}\nvolumes: {shared: {name: shared}}\n", want: []string{"no functions: ", "VOLUMES/shared/_data/fn is not there"}},
		"volumes of another":        {compose: "services: {storage: {image: supabase/storage-api, volumes_from: [\"files:ro\"]}, files: {image: busybox, volumes: [\"" + disk + ":/var/lib/storage\"]}}\n", want: []string{"storage " + disk}},
		"functions in the image":    {compose: "services: {functions: {image: supabase/edge-runtime}}\n", want: []string{"absent functions false The service functions mounts nothing"}},
		"functions of a link":       {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"./link:/home/deno/functions\"]}}\n", want: []string{"functions DIR/link"}},
		"functions, dangling link":  {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"./dangling:/home/deno/functions\"]}}\n", want: []string{"no functions: ", "DIR/dangling is not there"}},
		"the data of services":      {compose: "services: {db: {image: supabase/postgres, volumes: [\"./pg:/var/lib/postgresql/data\"]}, cache: {image: \"redis:7\", volumes: [\"./cache:/data\"]}, kong: {image: kong, volumes: [\"./volumes/functions:/home/kong:ro\"]}}\n", want: []string{"config DIR without cache pg"}},
		"the folder of an override": {compose: "services: {functions: {image: supabase/edge-runtime, volumes: [\"../files/fn:/home/deno/functions\"]}}\n", want: []string{"functions PARENT/files/fn"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{
				"docker-compose.yml": c.compose, ".env": "POSTGRES_PASSWORD=x\n" + c.env, "storage.env": "GLOBAL_S3_BUCKET=filed\nTENANT_ID=tenant\n", "pg/PG_VERSION": "15\n", "cache/x": "x", "../files/fn/main/index.ts": "x",
			})
			for link, target := range map[string]string{"link": "volumes/functions", "dangling": "none"} {
				if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			volumes := t.TempDir()
			for _, v := range []string{"my-project_storage-data", "shared"} {
				if err := os.MkdirAll(filepath.Join(volumes, v, "_data"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			c.options.VolumeRoot, c.options.AllowedPaths = volumes, []string{disk, "../files", "/srv/none", "/none"}
			got := strings.ReplaceAll(strings.ReplaceAll(describe(find(t, dir, c.options), dir), volumes, "VOLUMES"), filepath.Dir(dir), "PARENT")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("got %s\nwant %s", got, want)
				}
			}
		})
	}
}

// TestALostFolderMayBeMadeAgain only where no disk can be missing.
func TestALostFolderMayBeMadeAgain(t *testing.T) {
	disk := t.TempDir()
	dir := folder(t, map[string]string{"docker-compose.yml": "", "volumes/x": "x"})
	if err := os.Symlink(disk, filepath.Join(dir, "big")); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{"./volumes/lost": true, "./lost/deep": true, "./big/lost": false, disk + "/lost": false, "../lost": false} {
		write(t, filepath.Join(dir, "docker-compose.yml"), storageAt(source))
		p := find(t, dir, supabase.Options{AllowedPaths: []string{disk, ".."}})
		i := slices.IndexFunc(p.Parts, func(part project.Part) bool { return part.Name() == project.Storage })
		if u, ok := p.Parts[i].(*project.UnavailablePart); !ok || (u.Place != nil) != want {
			t.Errorf("%s: %+v", source, p.Parts[i])
		}
	}
}

// TestWhatAppearsLaterIsFound since each backup looks again.
func TestWhatAppearsLaterIsFound(t *testing.T) {
	dir := folder(t, map[string]string{"docker-compose.yml": storageAt("./late")})
	if got := describe(find(t, dir, supabase.Options{}), dir); !strings.Contains(got, "no storage: ") {
		t.Errorf("found before it is there: %s", got)
	}
	write(t, filepath.Join(dir, "late/x"), "x")
	if got := describe(find(t, dir, supabase.Options{}), dir); !strings.Contains(got, "storage DIR/late") {
		t.Errorf("not found: %s", got)
	}
}

// TestFoldersOfOtherPartsAreNoConfiguration wherever they are mounted, also when they
// are not backed up.
func TestFoldersOfOtherPartsAreNoConfiguration(t *testing.T) {
	dir := folder(t, map[string]string{"docker-compose.yml": storageAt("./files[1]"), "files[1]/x": "x", "files1/x": "x", "own/x": "x"})
	for _, o := range []supabase.Options{{}, {Storage: supabase.Storage{None: true}}, {Storage: supabase.Storage{Path: filepath.Join(dir, "own")}}} {
		for _, part := range find(t, dir, o).Parts {
			c, ok := part.(*project.ConfigPart)
			if !ok {
				continue
			}
			m, err := project.Measure(t.Context(), c)
			want := 4 // .env, the compose file, files1/x and own/x
			if o.Storage.Path != "" {
				want--
			}
			if err != nil || m.Files != want {
				t.Errorf("%+v: %d files, want %d, %v", o.Storage, m.Files, want, err)
			}
		}
	}
}
