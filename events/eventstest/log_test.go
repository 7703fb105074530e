package eventstest_test

import (
	"testing"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/eventstest"
)

func TestLog(t *testing.T) {
	eventstest.TestLog(t, func(*testing.T) events.Log { return &eventstest.Log{} })
}
