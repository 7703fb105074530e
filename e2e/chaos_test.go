package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

var (
	chaosTime = flag.Duration("chaos", 0, "how long TestChaos lasts; 0 leaves it out")
	chaosSeed = flag.Uint64("seed", 0, "seed of TestChaos; 0 takes one of the clock")
)

// TestChaos runs each service as a process of its own on three NATS servers, and does to
// them all that the plan of its seed says, while clients ask for backups, restores,
// deletions and cancellations. Afterwards it checks what must always hold; see
// chaos_invariants_test.go. The same seed makes the same plan again.
//
// Root has a network namespace and a clock for each process: cables are pulled, and clocks
// are set ahead and back (on amd64). The servers and the destination have small disks that
// are filled. Other users stop processes instead of pulling cables, and the log of the test
// says what is left out.
func TestChaos(t *testing.T) {
	if *chaosTime == 0 {
		t.Skip("make chaos runs it: it needs the machine for itself")
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./e2e -run TestChaos -chaos %s -seed %d", *chaosTime, seed)
	c := newChaos(t, newPlan(seed, *chaosTime))
	c.before = c.contents()
	ctx, stop := context.WithTimeout(t.Context(), *chaosTime+jobsWithin)
	defer stop()
	var clients sync.WaitGroup
	c.begin = time.Now()
	for _, jobs := range c.plan.jobs {
		clients.Go(func() { c.client(ctx, jobs) })
	}
	var faults sync.WaitGroup
	for _, all := range c.plan.faults {
		faults.Go(func() {
			for _, f := range all {
				c.do(f)
			}
		})
	}
	faults.Wait()
	c.logf("all faults have ended")
	clients.Wait()
	c.settle()
	c.check()
	c.damage()
}

// jobsWithin is how long after the last fault the last job is answered.
const jobsWithin = 5 * time.Minute

// chaos is a set of processes on a cluster, to which everything happens.
type chaos struct {
	t       *testing.T
	plan    plan
	begin   time.Time
	network *testenv.Network // nil where there can be none
	nodes   []*testenv.NATSProcess
	gateway *daemon
	daemons []*daemon // the gateway is the first
	names   []string  // of daemons
	db      *testenv.Postgres
	dbURL   string // by the address that every machine reaches
	url     string // of the NATS servers
	dir     string
	disk    string            // holds the destination
	before  map[string]string // what the projects held

	mu      sync.Mutex
	acked   map[string]string // backups and restores that were acknowledged, and their keys
	deleted map[string]bool   // backups of which the deletion was acknowledged
}

func newChaos(t *testing.T, p plan) *chaos {
	t.Helper()
	c := &chaos{t: t, plan: p, dir: t.TempDir(), acked: map[string]string{}, deleted: map[string]bool{}}
	network, err := testenv.NewNetwork(t)
	if err == nil {
		c.network = network
	} else {
		t.Logf("no cable can be pulled: %v. Processes are stopped instead", err)
	}
	c.disk = c.smallDisk("destination")
	c.nodes = testenv.NATSProcessesAt(t, [3]testenv.NATSPlace{c.place("n0"), c.place("n1"), c.place("n2")})
	c.url = testenv.URLs(c.nodes)
	c.makeProjects()
	for _, name := range chaosDaemons {
		c.daemons = append(c.daemons, c.process(name))
	}
	c.names = chaosDaemons
	c.gateway = c.daemons[0]
	t.Cleanup(c.keepLogs)
	c.gateway.ready()
	return c
}

// keepLogs copies the logs of all processes to where they stay, if the test has failed.
func (c *chaos) keepLogs() {
	if !c.t.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "holdfast-chaos-")
	if err != nil {
		c.t.Log(err)
		return
	}
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(c.dir), "*", "*log")) // of each process, and of each life of a server
	for _, log := range logs {
		text, rerr := os.ReadFile(log)
		err = errors.Join(err, rerr, os.WriteFile(filepath.Join(dir, filepath.Base(filepath.Dir(log))+".log"), text, 0o600))
	}
	c.t.Logf("the logs of %d processes are in %s, %v", len(logs), dir, err)
}

// chaosDaemons are the processes of Holdfast, as the services that they run.
var chaosDaemons = []string{"gateway", "catalog", "catalog", "backup", "backup", "restore"}

// smallDisk makes a folder, with a file system of its own where that is possible.
func (c *chaos) smallDisk(name string) string {
	c.t.Helper()
	if os.Getuid() == 0 {
		return smallDisk(c.t, "256m")
	}
	c.t.Logf("the disk of %s is not filled: a small file system can only be mounted by root", name)
	dir := filepath.Join(c.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

func (c *chaos) place(name string) testenv.NATSPlace {
	c.t.Helper()
	return testenv.NATSPlace{Machine: c.machine(), Dir: filepath.Join(c.smallDisk(name), "store")}
}

func (c *chaos) machine() *testenv.Machine {
	c.t.Helper()
	if c.network == nil {
		return nil
	}
	return c.network.Machine()
}

// makeProjects makes two projects: p has a database and files, q only files. Both hold
// the same from the first backup to the last restore.
func (c *chaos) makeProjects() {
	c.t.Helper()
	sh(c.t, c.dir, `for f in p q; do mkdir -p $f/main; head -c 50000 /dev/urandom > $f/main/a; yes 'the same line again and again' | head -c 40000000 > $f/main/b; done`) // takes a while to read, and little room at the destination
	host := "127.0.0.1"
	if c.network != nil {
		host = c.network.Addr()
	}
	c.db = testenv.NewPostgres(c.t, 15, "listen_addresses=127.0.0.1,"+host)
	put(c.t, c.db.DataDir(), "pg_hba.conf", "host all all all scram-sha-256\n")
	if err := c.db.Exec(c.t.Context(), "postgres", "SELECT pg_reload_conf(); CREATE TABLE kept AS SELECT n, md5(n::text) AS v FROM generate_series(1, 20000) n"); err != nil {
		c.t.Fatal(err)
	}
	c.dbURL = strings.Replace(c.db.URL("postgres"), "127.0.0.1", host, 1)
}

func (c *chaos) process(services string) *daemon {
	c.t.Helper()
	name := fmt.Sprintf("%s%d", services, len(c.daemons))
	projects := fmt.Sprintf("{id: p, functions: {path: %[1]s/p}, database: {url: %q, tools: %s}}\n  - {id: q, functions: {path: %[1]s/q}}", c.dir, c.dbURL, c.db.Bin)
	d := startOn(c.t, c.machine(), config(filepath.Join(c.dir, name), c.backups(), projects,
		fmt.Sprintf("services: [%s]\nnats: {url: %q, replicas: 3}\nrestore: {keep_old: 1s}\n", services, c.url)))
	d.client = &http.Client{Timeout: 20 * time.Second} // longer than anything may take to be refused
	return d
}

// backups is the folder of the destination.
func (c *chaos) backups() string { return filepath.Join(c.disk, "backups") }

// contents returns what the projects hold.
func (c *chaos) contents() map[string]string {
	c.t.Helper()
	out := map[string]string{
		"databases": text(c.t, c.db, "postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"),
		"table":     text(c.t, c.db, "postgres", "SELECT count(*) || md5(string_agg(k::text, ' ' ORDER BY n)) FROM kept k"),
	}
	for _, p := range []string{"p", "q"} {
		out[p] = sh(c.t, filepath.Join(c.dir, p), "find . -mindepth 1 | sort; find . -type f | sort | xargs sha256sum")
	}
	return out
}

func (c *chaos) logf(format string, args ...any) {
	c.t.Helper()
	c.t.Logf("%6.1f s: %s", time.Since(c.begin).Seconds(), strings.TrimSpace(fmt.Sprintf(format, args...)))
}
