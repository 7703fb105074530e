package e2e

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

var soakBackups = flag.Int("soak", 300, "how many backups TestSoak makes")

// used is what a daemon uses of the machine.
type used struct {
	goroutines, descriptors, anon float64 // anon in KiB
}

func (d *daemon) used() (u used) {
	d.t.Helper()
	figures := d.metrics()
	for name, into := range map[string]*float64{"\ngo_goroutines ": &u.goroutines, "\nprocess_open_fds ": &u.descriptors} {
		_, rest, _ := strings.Cut(figures, name)
		if _, err := fmt.Sscan(rest, into); err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(rest, &u.anon); err != nil {
		d.t.Fatal(err)
	}
	return u
}

// backups makes n backups, some at a time, and deletes every second one.
func (d *daemon) backups(n int) {
	d.t.Helper()
	var clients sync.WaitGroup
	const atATime = 4
	for range atATime {
		clients.Go(func() {
			for i := range n / atATime {
				a, err := d.try("POST", "/backups", full)
				if err != nil || a.status != 201 {
					d.t.Errorf("%v: %s", err, a.body)
					return
				}
				if i%2 == 0 {
					continue
				}
				if a, err := d.try("DELETE", "/backups/"+a.backup()["id"].(string), ""); err != nil || a.status != 200 {
					d.t.Errorf("%v: %s", err, a.body)
				}
			}
		})
	}
	clients.Wait()
}

// soakMemory is how much more memory a daemon may use after many backups. What grows is
// the server's cache of the newest block of the events and of the commands, up to 8 MiB
// each, and the garbage collector lets the heap be 1.8 times as large. Nothing else does:
// of 25 MiB that were live after 2,400 backups, 16 MiB were these two.
const soakMemory = 40 << 10 // KiB

// TestSoak compares what a daemon uses before and after many backups.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	d := start(t, small(t, dir))
	d.ready()
	d.backups(100)
	before := d.used()
	d.backups(*soakBackups)
	testenv.Eventually(t, 5*time.Minute, func() error { // memory goes back to the system by and by
		after := d.used()
		if after.goroutines > before.goroutines+30 || after.descriptors > before.descriptors+20 || after.anon > before.anon+soakMemory {
			return fmt.Errorf("before %+v, after %d backups %+v", before, *soakBackups, after)
		}
		return nil
	})
	t.Logf("before %+v, after %d backups %+v", before, *soakBackups, d.used())
}
