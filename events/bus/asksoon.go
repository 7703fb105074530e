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
