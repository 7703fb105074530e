package testenv

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

var natsAlone atomic.Int64 // servers that NATSAlone has started

// NATSAlone starts one NATS server with JetStream as a process, from the binary that
// [NATSBinary] has built, which keeps its streams in store. It ends with the test. Its
// address on the loopback is its own, so that nobody takes its port while it is killed.
func NATSAlone(tb testing.TB, binary, store string) *NATSProcess {
	tb.Helper()
	n := &NATSProcess{Name: "alone", NATSPlace: NATSPlace{Dir: store}}
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 1+pid>>8%128, pid%256, 1+natsAlone.Add(1)%250)
	n.start(tb, binary, fmt.Sprintf("%s:%d", host, FreePort(tb)), ", max_file: 1G", "")
	n.await(tb)
	return n
}
