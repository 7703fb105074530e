package eventstest_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
)

func TestLog(t *testing.T) {
	eventstest.TestLog(t, func(*testing.T) events.Log { return &eventstest.Log{} })
}

func TestFaults(t *testing.T) {
	eventstest.TestFaults(t, func(*testing.T) (events.Log, func(eventstest.Fault)) {
		l := eventstest.NewFaulty(&eventstest.Log{})
		return l, l.Set
	})
}
