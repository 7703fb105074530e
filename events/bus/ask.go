package bus

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

const (
	againTime   = 5 * time.Second         // until Ask asks again; each time twice as long
	soonTime    = 2400 * time.Millisecond // of each of the two tries of AskSoon, which end before 5 s
	suspectTime = 30 * time.Second        // how long all of a group are asked after one has not answered
)

// everySubject is where all who answer a subject get the query, not only one of them.
func everySubject(subject string) string { return "every." + subject }

// suspects remembers groups of which somebody does not answer.
type suspects struct {
	mu    sync.Mutex
	until map[string]time.Time // by subject
}

func (s *suspects) has(subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until[subject])
}

func (s *suspects) add(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	s.until[subject] = time.Now().Add(suspectTime)
}

// Ask sends a query below holdfast.q and decodes the answer into answer, as it is if that
// is a *[]byte. Whoever was asked may have died, or hang, or the answer was lost with a
// connection; so after a while Ask asks all who could answer, now and then, and takes the
// first answer. When nobody answers within a minute the error has the code
// [fault.Unavailable].
func (b *Bus) Ask(ctx context.Context, subject string, query, answer any) error {
	var tries sync.WaitGroup
	defer tries.Wait()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	type result struct {
		m     *nats.Msg
		err   error
		again bool
	}
	results := make(chan result)
	ask := func(subject string, again bool) {
		tries.Go(func() {
			m, err := b.ask(ctx, queryTimeout, subject, query)
			select {
			case results <- result{m, err, again}:
			case <-ctx.Done():
			}
		})
	}
	all := b.suspects.has(subject)
	if all {
		ask(everySubject(subject), false)
	} else {
		ask(subject, false)
	}
	for wait := againTime; ; {
		select {
		case r := <-results:
			switch {
			case r.err == nil && r.again && !all:
				b.suspects.add(subject) // the first one has not answered
				return decodeAnswer(r.m, answer)
			case r.err == nil:
				return decodeAnswer(r.m, answer)
			case !r.again: // nobody is there, or the server is away
				return unanswered(r.err, subject)
			}
		case <-time.After(wait):
			wait *= 2
			ask(everySubject(subject), true)
		case <-ctx.Done():
			return unanswered(ctx.Err(), subject)
		}
	}
}

// AskSoon is Ask for questions whose answer takes no time. When the one who was asked
// does not answer it asks all who could, takes the first answer, and does so for a
// while; one that answers [fault.Unavailable] is given a second try. It gives up after
// 5 s.
func (b *Bus) AskSoon(ctx context.Context, subject string, query, answer any) error {
	if !b.suspects.has(subject) {
		m, err := b.ask(ctx, soonTime, subject, query)
		if err == nil {
			if err := decodeAnswer(m, answer); fault.CodeOf(err) != fault.Unavailable {
				return err
			} // another may know more, or this one a moment later
		} else if ctx.Err() != nil || b.connection() != nil {
			return unanswered(err, subject)
		} else {
			b.suspects.add(subject)
		}
	}
	m, err := b.ask(ctx, soonTime, everySubject(subject), query)
	if err != nil {
		return unanswered(err, subject)
	}
	return decodeAnswer(m, answer)
}

// ask sends a query and returns the first answer.
func (b *Bus) ask(ctx context.Context, limit time.Duration, subject string, query any) (*nats.Msg, error) {
	data, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	if err := b.connected(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return b.request(ctx, queryPrefix+subject, data)
}
