package bus

import (
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// On a cluster a leader that was just elected may not have the newest events yet, and
// the log seems shorter for a moment than it was.
const (
	confirmTime = 30 * time.Second // how long the log must seem to be shorter until it is
	forgetTime  = 15 * time.Second // after which what was not seen again was nothing
)

// sighting is when damage was seen.
type sighting struct{ first, last time.Time }

// confirmed reports whether damage is more than the moment after an election.
func (b *Bus) confirmed(d *events.DamageError) bool {
	if b.replicas < 2 || d.Replaced == "" {
		return true
	}
	key := events.LogState{Identity: d.Replaced, Last: d.Last}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.suspicions[key]
	if now := time.Now(); !ok || now.Sub(s.last) > forgetTime {
		s = sighting{now, now}
	} else {
		s.last = now
	}
	b.suspicions[key] = s
	return s.last.Sub(s.first) >= confirmTime
}

// suspected returns an error while it is not clear whether the log has lost something.
func (b *Bus) suspected() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, s := range b.suspicions {
		if time.Since(s.last) < forgetTime {
			return &awayError{fmt.Sprintf("revision %d of the event log was known and cannot be seen now", key.Last), nil}
		}
		delete(b.suspicions, key)
	}
	return nil
}

// trust forgets what was suspected: the log goes far enough.
func (b *Bus) trust(now events.LogState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.suspicions {
		if key.Identity == now.Identity && key.Last <= now.Last {
			delete(b.suspicions, key)
		}
	}
}
