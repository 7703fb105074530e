package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// BenchmarkStores measures an upload of 3 GB to MinIO beside `mc pipe` and `aws s3
// cp -` with the same bytes, a download through the gateway, and the peak memory of
// holdfastd meanwhile. All is printed; `make bench TABLE=stores` runs it.
func BenchmarkStores(b *testing.B) {
	const size = 3_000_000_000
	dir := b.TempDir()
	sh(b, dir, fmt.Sprintf("mkdir src && head -c %d /dev/urandom > src/noise", size))
	srv, d := onMinIO(b, dir, fmt.Sprintf("{id: p, functions: {path: %s/src}}", dir))
	seconds := func(f func()) float64 { // the best of three
		best := 0.0
		for i := range 3 {
			begin := time.Now()
			f()
			if s := time.Since(begin).Seconds(); i == 0 || s < best {
				best = s
			}
		}
		return best
	}
	for b.Loop() {
		local := d.call("POST", "/backups", full)
		d.want(local, 201)
		path, id := local.backup()["path"].(string), local.backup()["id"].(string)
		down := seconds(func() { d.discard(id) })
		b.Logf("%-44s %6.2f s  %4.0f MB/s (budget >= 300)", "download from local", down, size/1e6/down)
		ours := seconds(func() { d.want(d.call("POST", "/backups", `{"projectId":"p","destination":"minio"}`), 201) })
		b.Logf("%-44s %6.2f s  %4.0f MB/s", "holdfastd, REST to confirmed", ours, size/1e6/ours)
		env := fmt.Sprintf("export AWS_ACCESS_KEY_ID=%[1]s AWS_SECRET_ACCESS_KEY=%[2]s AWS_DEFAULT_REGION=us-east-1 MC_CONFIG_DIR=%[3]s/mc MC_HOST_m=http://%[1]s:%[2]s@%[4]s; ",
			testenv.AccessKey, testenv.SecretKey, dir, srv.URL[len("http://"):])
		for name, script := range map[string]string{
			"mc pipe (budget <= 1.00)":     fmt.Sprintf("cat %s | mc --quiet pipe m/holdfast/rival >/dev/null", path),
			"aws s3 cp - (budget <= 1.00)": fmt.Sprintf("cat %s | /usr/bin/aws --endpoint-url %s s3 cp --expected-size %d - s3://holdfast/rival", path, srv.URL, size+1<<20),
		} {
			theirs := seconds(func() { sh(b, dir, env+script) })
			b.Logf("%-44s %6.2f s  ratio %.2f", name, theirs, ours/theirs)
		}
	}
	b.Logf("%-44s %s (budget <= 131072 kB)", "peak memory of holdfastd", d.peak())
}

// onMinIO starts a MinIO with the bucket holdfast, and a holdfastd that knows it.
func onMinIO(b *testing.B, dir, project string) (*testenv.StoreServer, *daemon) {
	b.Helper()
	srv := testenv.MinIO(b)
	bucket := srv.Bucket(b, "holdfast", false)
	d := start(b, with(config(dir+"/data", dir+"/backups", project, ""),
		fmt.Sprintf("  minio: {endpoint: %q, bucket: %s, access_key_id: %s, secret_access_key: %s}\n", srv.URL, bucket, testenv.AccessKey, testenv.SecretKey)))
	d.ready()
	return srv, d
}

// BenchmarkPartial measures how much of an archive of 10 GB on MinIO is read when its
// functions alone are restored. `make bench TABLE=partial` runs it.
func BenchmarkPartial(b *testing.B) {
	const size = 10_000_000_000
	dir := b.TempDir()
	sh(b, dir, fmt.Sprintf("mkdir -p storage functions/main && head -c %d /dev/urandom | split -b 100MB - storage/ && echo 'Deno.serve();' > functions/main/index.ts", size))
	_, d := onMinIO(b, dir, fmt.Sprintf("{id: p, storage: {path: %[1]s/storage}, functions: {path: %[1]s/functions}}", dir))
	for b.Loop() {
		a := d.call("POST", "/backups", `{"projectId":"p","destination":"minio"}`)
		d.want(a, 201)
		begin := time.Now()
		d.want(d.call("POST", "/backups/"+a.backup()["id"].(string)+"/restore", `{"restoreTypes":["functions"],"safetyBackup":false}`), 200)
		log, err := os.ReadFile(d.config + ".log")
		if err != nil {
			b.Fatal(err)
		}
		all := regexp.MustCompile(`"archive_bytes_read":(\d+)`).FindAllSubmatch(log, -1)
		if len(all) == 0 {
			b.Fatalf("the log does not say how much was read: %s", log)
		}
		read, err := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%-44s %6.2f s  %.1f MB of %.0f read, %.2f %% (budget <= 1 %%)", "functions out of an archive on MinIO", time.Since(begin).Seconds(),
			float64(read)/1e6, a.backup()["size"].(float64)/1e6, 100*float64(read)/a.backup()["size"].(float64))
	}
	b.Logf("%-44s %s (budget <= 131072 kB)", "peak memory of holdfastd", d.peak())
}

// peak returns the most memory that the process has had.
func (d *daemon) peak() string {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(regexp.MustCompile(`VmHWM:\s+(.*)`).FindSubmatch(status)[1])
}

// discard downloads an archive.
func (d *daemon) discard(id string) {
	d.t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v1/backups/%s/download", d.port, id)
	if out, err := exec.CommandContext(d.t.Context(), "curl", "-sf", "-H", "X-API-Key: "+apiKey, "-o", "/dev/null", url).CombinedOutput(); err != nil {
		d.t.Fatalf("curl: %v: %s", err, out)
	}
}
