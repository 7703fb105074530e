package e2e

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// plan is all that a run of TestChaos does. A seed always makes the same one: nothing in
// it depends on how the run goes.
type plan struct {
	jobs    [][]job    // of each client
	faults  [2][]fault // of daemons, and of servers and disks: the two go on side by side
	damaged int        // the server whose blocks are damaged at the end
}

// job is one request of a client, which repeats it until it is answered.
type job struct {
	at     time.Duration // after the begin, or when the job before it is answered
	kind   jobKind
	key    string // Idempotency-Key
	body   string
	wait   string // Prefer
	of     int    // which job of the same client is restored, deleted or cancelled
	repeat bool   // asks once more after the answer
}

type jobKind string

const (
	jobBackup  jobKind = "backup"
	jobRestore jobKind = "restore"
	jobDelete  jobKind = "delete"
	jobCancel  jobKind = "cancel"
)

// fault is something bad that lasts for a while.
type fault struct {
	kind   faultKind
	before time.Duration // a pause
	lasts  time.Duration
	who    int // a daemon
	node   int
	offset time.Duration // of a clock
	name   int           // of a consumer
}

type faultKind string

const (
	killDaemon     faultKind = "kill"
	stopDaemon     faultKind = "stop"
	hangDaemon     faultKind = "hang"
	unplugDaemon   faultKind = "unplug"
	daemonClock    faultKind = "set the clock of"
	killNode       faultKind = "kill node"
	hangNode       faultKind = "hang node"
	unplugNode     faultKind = "unplug node"
	isolateNodes   faultKind = "cut two nodes apart, not node"
	nodeClock      faultKind = "set the clock of node"
	fillNode       faultKind = "fill the disk of node"
	damageNode     faultKind = "damage the blocks of node"
	fillBackups    faultKind = "fill the destination"
	deleteConsumer faultKind = "delete the consumer"
)

// faultKinds are what may happen to daemons, and to servers and disks; some of it more
// often.
var faultKinds = [2][]faultKind{
	{killDaemon, killDaemon, killDaemon, stopDaemon, hangDaemon, hangDaemon, unplugDaemon, unplugDaemon, daemonClock, daemonClock},
	{killNode, killNode, hangNode, unplugNode, isolateNodes, nodeClock, fillNode, fillBackups, damageNode, deleteConsumer, deleteConsumer},
}

const (
	chaosClients = 3
	jobEvery     = 2 * time.Second // makes 300 jobs in ten minutes
)

func newPlan(seed uint64, lasts time.Duration) plan {
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := plan{damaged: rnd.IntN(3), jobs: make([][]job, chaosClients)}
	for i := range int(lasts / jobEvery) {
		n := i % chaosClients
		p.jobs[n] = append(p.jobs[n], newJob(rnd, p.jobs[n], fmt.Sprintf("%d-%d", n, len(p.jobs[n])), time.Duration(i)*jobEvery))
	}
	for to := range p.faults {
		for all := time.Duration(0); all < lasts; {
			f := newFault(rnd, faultKinds[to])
			p.faults[to] = append(p.faults[to], f)
			all += f.before + f.lasts
		}
	}
	return p
}

// newJob chooses the next job of a client.
func newJob(rnd *rand.Rand, before []job, key string, at time.Duration) job {
	j := job{at: at, kind: jobBackup, key: key, wait: []string{"respond-async", "wait=5"}[rnd.IntN(2)], repeat: rnd.IntN(4) == 0}
	var made []int
	for i, b := range before {
		if b.kind == jobBackup {
			made = append(made, i)
		}
	}
	project, older, recent := []string{"p", "q"}[rnd.IntN(2)], rnd.IntN(len(made)+1), rnd.IntN(2) == 0
	switch kind := rnd.IntN(20); {
	case len(made) == 0 || kind < 9:
		j.body = fmt.Sprintf(`{"projectId":%q}`, project)
		return j
	case kind < 14:
		j.kind, j.body = jobRestore, fmt.Sprintf(`{"safetyBackup":%v}`, rnd.IntN(2) == 0)
	case kind < 17:
		j.kind = jobDelete
	default:
		j.kind, recent = jobCancel, true
		if last := before[len(before)-1]; last.kind == jobBackup { // which may still run
			j.at = last.at + time.Duration(rnd.Int64N(int64(time.Second)))
		}
	}
	if j.of = made[older%len(made)]; recent {
		j.of = made[len(made)-1]
	}
	return j
}

// newFault chooses what happens next.
func newFault(rnd *rand.Rand, kinds []faultKind) fault {
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rnd.Int64N(int64(most-least))).Truncate(time.Millisecond)
	}
	f := fault{
		kind: kinds[rnd.IntN(len(kinds))], before: between(200*time.Millisecond, 2500*time.Millisecond), lasts: between(500*time.Millisecond, 5*time.Second),
		who: rnd.IntN(len(chaosDaemons)), node: rnd.IntN(3), name: rnd.IntN(len(chaosConsumers)),
	}
	hours, seconds := between(-48*time.Hour, 48*time.Hour), between(-10*time.Second, 10*time.Second)
	switch f.kind {
	case killDaemon, killNode:
		f.lasts /= 5
	case hangNode, unplugNode, isolateNodes, unplugDaemon:
		f.lasts *= 2
	case stopDaemon, deleteConsumer, damageNode:
		f.lasts = 0
	case daemonClock:
		if f.offset = hours.Truncate(time.Second); chaosDaemons[f.who] == "restore" {
			f.offset = seconds.Truncate(time.Second) // keeps what was replaced until then
		}
	case nodeClock:
		f.offset = seconds.Truncate(time.Second) // delays deliveries by as much when it is set right
	case hangDaemon, fillNode, fillBackups:
	}
	return f
}
