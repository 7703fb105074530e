package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/events"
)

// Find returns the aggregate of a kind with an id, of whatever project, or
// [events.ErrNoEvent] if it has no events. It reads as much as [Log.Last] does.
func (l *Log) Find(ctx context.Context, kind, id string) (events.Aggregate, error) {
	if err := (events.Aggregate{Project: events.System, Kind: kind, ID: id}).Validate(); err != nil {
		return events.Aggregate{}, err
	}
	m, err := l.b.leader(ctx, streamEvents, leaderRequest{LastFor: eventPrefix + strings.Join([]string{"*", kind, id, ">"}, ".")})
	if err != nil {
		return events.Aggregate{}, err
	}
	about, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, eventPrefix), ".")
	return events.Aggregate{Project: about, Kind: kind, ID: id}, nil
}

// Waiting decodes the newest command of a verb about something with an id into cmd, if
// nobody has dealt with it, and returns when it was sent. The zero time means that there
// is none. Who asks for a command first and for its effect on the log then misses neither.
func (b *Bus) Waiting(ctx context.Context, service, verb, id string, cmd any) (sent time.Time, err error) {
	if err := (events.Aggregate{Project: events.System, Kind: service, ID: id}).Validate(); err != nil {
		return sent, err
	}
	m, err := b.leader(ctx, streamCommands, leaderRequest{LastFor: commandPrefix + strings.Join([]string{service, "*", "*", verb, id}, ".")})
	if errors.Is(err, events.ErrNoEvent) {
		return sent, nil
	}
	if err != nil {
		return sent, err
	}
	if err := json.Unmarshal(m.Data, cmd); err != nil {
		return sent, fmt.Errorf("the command %s about %s: %w", verb, id, err)
	}
	return m.Time, nil
}
