package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Machine is what a process takes for its machine: a network namespace with an address
// and a cable of its own, and a clock that can be set. The nil Machine is this machine.
type Machine struct {
	Addr  string
	space string // name of the network namespace
	cable string // this side of its cable
}

// Network is a bridge to which machines are plugged.
type Network struct {
	tb     testing.TB
	bridge string
	subnet string // the first three bytes of its addresses
	next   int
}

// NewNetwork makes a network that ends with the test. The error says why that is not
// possible here: it takes root and network namespaces.
func NewNetwork(tb testing.TB) (*Network, error) {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil, errors.New("network namespaces can only be made by root")
	}
	removeDeadNetworks()
	n := &Network{tb: tb, bridge: fmt.Sprintf(bridgeFormat, os.Getpid(), networks.Add(1)), next: 2}
	for n.subnet = ""; n.subnet == ""; {
		n.subnet = unusedSubnet()
	}
	err := ip("link add " + n.bridge + " type bridge")
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = ip("link del " + n.bridge) }) // with the test
	return n, errors.Join(ip("addr add "+n.subnet+".1/24 dev "+n.bridge), ip("link set "+n.bridge+" up"))
}

const bridgeFormat = "hf%dn%d" // the process of the test, and a number

var networks atomic.Int64 // of this process

// removeDeadNetworks removes what tests have left that were killed.
func removeDeadNetworks() {
	dead := func(name string) bool {
		var pid, number int
		_, err := fmt.Sscanf(name, bridgeFormat, &pid, &number)
		return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	for folder, remove := range map[string]string{"/run/netns": "netns del ", "/sys/class/net": "link del "} {
		all, _ := os.ReadDir(folder) // where there are none there is no folder
		for _, e := range all {
			if dead(e.Name()) {
				_ = ip(remove + e.Name()) // a cable goes with its other end
			}
		}
	}
}

// unusedSubnet returns a private network of 256 addresses, or "" if this machine has
// one of them.
func unusedSubnet() string {
	subnet := fmt.Sprintf("10.213.%d", rand.IntN(256))
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return subnet
	}
	for _, a := range addrs {
		if strings.HasPrefix(a.String(), subnet+".") {
			return ""
		}
	}
	return subnet
}

// Addr returns the address at which machines reach this one.
func (n *Network) Addr() string { return n.subnet + ".1" }

// Machine plugs another machine.
func (n *Network) Machine() *Machine {
	n.tb.Helper()
	m := &Machine{Addr: fmt.Sprintf("%s.%d", n.subnet, n.next), space: fmt.Sprintf("%s-%d", n.bridge, n.next), cable: fmt.Sprintf("%sv%d", n.bridge, n.next)}
	n.next++
	n.tb.Cleanup(func() { _ = ip("netns del " + m.space) }) // its cable goes with it
	for _, c := range []string{
		"netns add " + m.space,
		"link add " + m.cable + " type veth peer name eth0 netns " + m.space,
		"link set " + m.cable + " master " + n.bridge,
		"link set " + m.cable + " up",
		"-n " + m.space + " addr add " + m.Addr + "/24 dev eth0",
		"-n " + m.space + " link set eth0 up",
		"-n " + m.space + " link set lo up",
	} {
		if err := ip(c); err != nil {
			n.tb.Fatal(err)
		}
	}
	return m
}

// Unplug pulls the cable: what is sent in either direction is lost, and nobody is told.
func (m *Machine) Unplug(tb testing.TB) { tb.Helper(); must(tb, ip("link set "+m.cable+" down")) }

// Plug ends Unplug.
func (m *Machine) Plug(tb testing.TB) { tb.Helper(); must(tb, ip("link set "+m.cable+" up")) }

// Isolate keeps the machine and all others that are isolated from each other; each of
// them still reaches the rest.
func (m *Machine) Isolate(tb testing.TB) { tb.Helper(); must(tb, m.isolate("on")) }

// Join ends Isolate.
func (m *Machine) Join(tb testing.TB) { tb.Helper(); must(tb, m.isolate("off")) }

func (m *Machine) isolate(onOff string) error {
	return ip("link set " + m.cable + " type bridge_slave isolated " + onOff)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// Start starts a process on the machine. Its clock can be set by [SetClock] from then
// on, where that is possible.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if m == nil {
		return cmd.Start()
	}
	runtime.LockOSThread() // a thread has its own namespace, and traces
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	away, err := os.Open("/run/netns/" + m.space)
	if err != nil {
		return err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = startWithClock(cmd)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// startWithClock starts a process whose clock can be set: it stops before its first
// instruction and gets another vDSO.
func startWithClock(cmd *exec.Cmd) error {
	if errClock != nil {
		return cmd.Start()
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("%s did not stop at its start: %v, %w", cmd.Path, status, err)
	}
	return errors.Join(replaceClock(cmd.Process.Pid), unix.PtraceDetach(cmd.Process.Pid))
}
