package testenv_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

// clockProgram tells on each connection how far its clock is from that of who asks.
const clockProgram = `package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	begin := time.Now()
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(c, time.Now().Unix(), int64(time.Since(begin)/time.Second))
		c.Close()
	}
}
`

// TestMachine starts a program on a machine of its own, sets its clock, pulls its cable,
// and keeps it apart from another one.
func TestMachine(t *testing.T) {
	network, err := testenv.NewNetwork(t)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(clockProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "clock"), filepath.Join(dir, "main.go")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := network.Machine()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "clock"), m.Addr+":1000")
	if err := m.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context of the test ends it
	ask := func() (offset, ran time.Duration, err error) {
		c, err := net.DialTimeout("tcp", m.Addr+":1000", time.Second)
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return 0, 0, err
		}
		var unix, seconds int64
		_, err = fmt.Sscan(line, &unix, &seconds)
		return time.Until(time.Unix(unix, 0)), time.Duration(seconds) * time.Second, err
	}
	for _, want := range []time.Duration{0, 3 * time.Hour, -48 * time.Hour, 0} {
		if err := testenv.SetClock(cmd.Process.Pid, want); err != nil {
			t.Skip(err)
		}
		testenv.Eventually(t, 20*time.Second, func() error {
			got, ran, err := ask()
			if err == nil && ((got-want).Abs() > 10*time.Second || ran < 0 || ran > time.Hour) {
				err = fmt.Errorf("the clock is off by %s after %s, want %s", got, ran, want)
			}
			return err
		})
	}
	other := network.Machine()
	reaches := func() error {
		cmd := exec.CommandContext(t.Context(), "timeout", "2", "bash", "-c", "</dev/tcp/"+m.Addr+"/1000")
		if err := other.Start(cmd); err != nil {
			t.Fatal(err)
		}
		return cmd.Wait()
	}
	m.Isolate(t)
	other.Isolate(t)
	if _, _, err := ask(); err != nil {
		t.Errorf("a machine that is isolated from another is out of reach: %v", err)
	}
	if reaches() == nil {
		t.Error("two machines that are isolated reach each other")
	}
	m.Join(t)
	testenv.Eventually(t, 20*time.Second, reaches)
	m.Unplug(t)
	if _, _, err := ask(); err == nil {
		t.Error("a machine without a cable answers")
	}
	m.Plug(t)
	testenv.Eventually(t, 20*time.Second, func() error { _, _, err := ask(); return err })
}
