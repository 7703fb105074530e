package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/testenv"
)

const (
	eventStream   = "HOLDFAST_EVENTS"
	commandStream = "HOLDFAST_COMMANDS"
	jobStream     = "HOLDFAST_JOBS"
)

// chaosConsumers are the durable consumers that may be deleted: those of events, and those
// of the queues of a project.
var chaosConsumers = [][2]string{
	{eventStream, "backup-default"},
	{eventStream, "restore-default"},
	{eventStream, "restore-drop-default"},
	{jobStream, "backup-default-job=p"},
	{jobStream, "backup-default-job=q"},
	{jobStream, "restore-default-job=p"},
	{commandStream, "backup-default-create=p"},
	{commandStream, "backup-default-delete=p"},
	{commandStream, "backup-default-cancel=p"},
	{commandStream, "restore-default-create=p"},
}

// do lets one fault happen and end.
func (c *chaos) do(f fault) {
	c.t.Helper()
	time.Sleep(f.before)
	d, n := c.daemons[f.who], c.nodes[f.node]
	c.logf("%s", c.describe(f))
	pause := func() { time.Sleep(f.lasts) }
	switch f.kind {
	case killDaemon:
		d.kill(syscall.SIGKILL)
		pause()
		d.run()
	case stopDaemon:
		d.kill(syscall.SIGTERM)
		d.run()
	case hangDaemon:
		c.hang(d, pause)
	case unplugDaemon:
		if d.machine == nil {
			c.hang(d, pause)
			return
		}
		d.machine.Unplug(c.t)
		pause()
		d.machine.Plug(c.t)
	case daemonClock:
		c.setClock(d.cmd.Process.Pid, f.offset, pause)
	case deleteConsumer:
		testenv.DeleteConsumer(c.t, c.url, chaosConsumers[f.name][0], chaosConsumers[f.name][1])
	case fillBackups:
		c.fill(c.disk, pause)
	case killNode, hangNode, unplugNode, isolateNodes, nodeClock, fillNode, damageNode:
		c.harm(n, f, pause)
	}
}

// describe says what a fault does, for people.
func (c *chaos) describe(f fault) string {
	out := string(f.kind)
	switch f.kind {
	case killDaemon, stopDaemon, hangDaemon, unplugDaemon, daemonClock:
		out += fmt.Sprintf(" %s%d", c.names[f.who], f.who)
	case killNode, hangNode, unplugNode, isolateNodes, nodeClock, fillNode, damageNode:
		out += " " + c.nodes[f.node].Name
	case deleteConsumer:
		out += " " + chaosConsumers[f.name][1]
	case fillBackups:
	}
	if f.offset != 0 {
		out += fmt.Sprintf(" by %s", f.offset)
	}
	if f.lasts != 0 {
		out += fmt.Sprintf(", for %s", f.lasts)
	}
	return out
}

// harm lets a fault of a NATS server happen and end.
func (c *chaos) harm(n *testenv.NATSProcess, f fault, pause func()) {
	c.t.Helper()
	switch {
	case f.kind == killNode:
		n.Kill(c.t)
		pause()
		n.Restart(c.t)
	case f.kind == damageNode:
		testenv.WholeStream(c.t, c.nodes, eventStream) // what two of three have lost, nobody could bring back
		n.Kill(c.t)
		c.flip(n)
		n.Restart(c.t)
		testenv.WholeStream(c.t, c.nodes, eventStream)
	case f.kind == fillNode && os.Getuid() == 0:
		c.fill(filepath.Dir(n.Dir), pause)
		n.Kill(c.t) // it takes no writes until it is started again
		n.Restart(c.t)
	case f.kind == nodeClock:
		c.setClock(n.PID(), f.offset, pause)
	case f.kind == unplugNode && n.Machine != nil:
		n.Machine.Unplug(c.t)
		pause()
		n.Machine.Plug(c.t)
	case f.kind == isolateNodes && n.Machine != nil:
		for _, other := range c.nodes {
			if other != n {
				other.Machine.Isolate(c.t)
				defer other.Machine.Join(c.t)
			}
		}
		pause()
	default:
		n.Hang(c.t)
		pause()
		n.Continue(c.t)
	}
}

// flip flips bytes in the middle of what a stopped server keeps of the log.
func (c *chaos) flip(n *testenv.NATSProcess) {
	c.t.Helper()
	sh(c.t, n.Dir, `f=$(ls -S jetstream/*/streams/HOLDFAST_EVENTS/msgs/*.blk | head -n 1); rm -f $(dirname $f)/index.db
printf '\377\377\377' | dd of=$f bs=1 seek=$(($(stat -c %s $f) / 2)) conv=notrunc status=none`)
}

func (c *chaos) hang(d *daemon, pause func()) {
	c.t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := d.cmd.Process.Signal(sig); err != nil {
			c.t.Error(err)
		}
		if sig == syscall.SIGSTOP {
			pause()
		}
	}
}

// setClock sets the clock of a process, and sets it right again.
func (c *chaos) setClock(pid int, offset time.Duration, pause func()) {
	c.t.Helper()
	for _, o := range []time.Duration{offset, 0} {
		if err := testenv.SetClock(pid, o); err != nil {
			c.logf("the clock is not set: %v", err)
			return
		}
		if o != 0 {
			pause()
		}
	}
}

// fill takes all room of a file system, and gives it back. Where the file system is that
// of this machine it only waits.
func (c *chaos) fill(dir string, pause func()) {
	c.t.Helper()
	if os.Getuid() != 0 {
		pause()
		return
	}
	name := filepath.Join(dir, "fill")
	f, err := os.Create(name)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer f.Close()
	page := make([]byte, 1<<20)
	for len(page) > 0 {
		if _, err := f.Write(page); errors.Is(err, syscall.ENOSPC) {
			page = page[:len(page)/2]
		} else if err != nil {
			c.t.Error(err)
			break
		}
	}
	pause()
	if err := os.Remove(name); err != nil {
		c.t.Error(err)
	}
}
