package bus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-dev/holdfast/events"
)

// unmarshal decodes the event of a subject. With an error, which wraps
// [events.ErrBroken], the event is an [events.Broken].
func unmarshal(subject string, rev events.Revision, get func(string) string, data []byte) (events.Envelope, error) {
	a, name, err := parseSubject(subject)
	if err != nil {
		return broken(events.Envelope{Aggregate: events.Aggregate{Project: events.System, Kind: "unknown", ID: "unknown"}, Revision: rev}, "", err)
	}
	env, err := events.Unmarshal(a, rev, get, data)
	if err != nil {
		return env, err
	}
	if typ := env.Event.EventType(); events.Name(typ) != name || !strings.HasPrefix(typ, a.Kind+".") {
		return broken(env, typ, fmt.Errorf("an event %s stands on the subject of %s.%s", typ, a.Kind, name))
	}
	return env, nil
}

func broken(env events.Envelope, typ string, err error) (events.Envelope, error) {
	err = fmt.Errorf("%w: revision %d: %w", events.ErrBroken, env.Revision, err)
	env.Event = events.Broken{Type: typ, Err: err}
	return env, err
}

// parseSubject returns what an event's subject is about, and the event's name.
func parseSubject(subject string) (a events.Aggregate, name string, err error) {
	s, ok := strings.CutPrefix(subject, eventPrefix)
	i := strings.LastIndexByte(s, '.')
	if !ok || i < 0 {
		return a, "", fmt.Errorf("subject %q is not an event's", subject)
	}
	a, err = events.ParseAggregate(s[:i])
	return a, s[i+1:], err
}

// decode decodes what a consumer of the whole log was given. A broken event is part of
// the log.
func decode(m jetstream.Msg) (events.Envelope, error) {
	md, err := m.Metadata()
	if err != nil {
		return events.Envelope{}, fmt.Errorf("event on %s: %w", m.Subject(), err)
	}
	env, err := unmarshal(m.Subject(), events.Revision(md.Sequence.Stream), m.Headers().Get, m.Data())
	if errors.Is(err, events.ErrBroken) {
		err = nil
	}
	return env, err
}
