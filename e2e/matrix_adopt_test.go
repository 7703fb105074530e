package e2e

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/testenv"
)

// TestAdoptKilled kills the command that adopts backups, and the NATS server, before and
// after the first event that it appends. The next run adopts the rest, each once.
func TestAdoptKilled(t *testing.T) {
	t.Parallel() // most of it is waiting
	binary := testenv.NATSBinary(t)
	old := newSite(t, binary, victimWorker, "24h")
	old.newBackup()
	var known pastEvents
	testenv.Eventually(t, time.Minute, func() (err error) {
		known, err = old.log.history()
		return err
	})
	for _, victim := range []string{"command", victimNATS} {
		for _, when := range []string{"before", "after"} {
			t.Run(victim+" "+when, func(t *testing.T) {
				s := &site{t: t, all: t, dir: t.TempDir(), victim: victim, nats: testenv.NATSAlone(t, binary, t.TempDir())}
				s.proxy = testenv.ProxyNATS(t, s.nats)
				sh(t, s.dir, "cp -a "+old.dir+"/backups "+old.dir+"/functions .")
				before := objects(t, s.dir+"/backups")
				s.worker = s.process("worker", "backup", s.proxy.URL, "24h")
				s.worker.kill(9) // its configuration is of use
				s.log = follow(t, s.nats.URL)
				s.adoptKilled(when)
				testenv.Eventually(t, 2*time.Minute, s.adopts)
				s.adopted(known)
				if after := objects(t, s.dir+"/backups"); strings.Join(after, "\n") != strings.Join(before, "\n") {
					t.Errorf("objects %v, before %v", after, before)
				}
			})
		}
	}
}

// adopts runs the command.
func (s *site) adopts() error {
	out, err := s.adopt().CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(string(out)))
	}
	return err
}

func (s *site) adopt() *exec.Cmd {
	return exec.Command(binary, "adopt", "--destination", "local", "--config", s.worker.config)
}

// adoptKilled runs the command and kills the victim at the first event.
func (s *site) adoptKilled(when string) {
	s.t.Helper()
	stop := s.proxy.StopBefore
	if when == "after" {
		stop = s.proxy.StopAfter
	}
	reached := stop(func(subject string, _ []byte) bool { return strings.HasSuffix(subject, ".adopted") }).Reached
	cmd := s.adopt()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-reached:
	case <-time.After(time.Minute):
		s.t.Fatal("nothing was adopted")
	}
	if s.victim == victimNATS {
		s.kill()
	} else if err := cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = cmd.Wait() // the next one says how it ends
	s.proxy.Break()
}

// adopted checks that the log has each backup of another one's history, adopted once.
func (s *site) adopted(known pastEvents) {
	s.t.Helper()
	var all pastEvents
	testenv.Eventually(s.t, time.Minute, func() (err error) {
		all, err = s.log.history()
		return err
	})
	for a := range known {
		if a.Kind == events.KindBackup && len(all[a]) != 1 {
			s.t.Errorf("%s: %+v", a, all[a])
		}
	}
	if left, err := filepath.Glob(s.dir + "/backups/*/.*"); err != nil || len(left) > 0 {
		s.t.Errorf("left behind: %v, %v", left, err)
	}
}
