package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/internal/fault"
)

const queryPrefix = "holdfast.q."

// queryTimeout ends a query that nobody answers; the reads of archives from far away are
// the slowest.
const queryTimeout = 60 * time.Second

// ErrNobody is wrapped by the error of [Bus.Ask] when nobody answers a subject.
var ErrNobody = errors.New("bus: nobody answers")

// maxQueries bounds what one endpoint answers at a time.
const maxQueries = 64

// Queries answers queries of other services. It is a NATS micro service, so
// `nats micro ls` shows it.
type Queries struct {
	svc micro.Service
	ctx context.Context //nolint:containedctx // the handlers of a micro service get none of their own
	end context.CancelFunc
	b   *Bus
}

// NewQueries starts a query service without endpoints. The caller must call
// [Queries.Close].
func (b *Bus) NewQueries(name string) (*Queries, error) {
	svc, err := micro.AddService(b.nc, micro.Config{Name: name, Version: "1.0.0"})
	if err != nil {
		return nil, fmt.Errorf("query service %s: %w", name, err)
	}
	q := &Queries{svc: svc, b: b}
	q.ctx, q.end = context.WithCancel(context.Background())
	return q, nil
}

// Close stops answering.
func (q *Queries) Close() error {
	q.end()
	return q.svc.Stop()
}

// Answer makes h answer the queries of a subject below holdfast.q. The same query may
// come several times, so h must not change anything. What h
// returns as an error reaches the asker with its fault code. A []byte answer is
// sent as it is, anything else as JSON. An answer may have up to 64 MiB.
func Answer[Q, A any](q *Queries, subject string, h func(ctx context.Context, query Q) (A, error)) error {
	busy := make(chan struct{}, maxQueries)
	handler := micro.HandlerFunc(func(r micro.Request) {
		busy <- struct{}{} // a micro endpoint calls one at a time
		go func() {
			defer func() { <-busy }()
			ctx, cancel := context.WithTimeout(q.ctx, queryTimeout)
			defer cancel()
			q.respond(r, func() (any, error) {
				var query Q
				if err := json.Unmarshal(r.Data(), &query); err != nil {
					return nil, fault.Wrap(err, fault.Invalid, "The question cannot be decoded: the services are of different versions")
				}
				return h(ctx, query)
			})
		}()
	})
	return errors.Join(
		q.svc.AddEndpoint("q", handler, micro.WithEndpointSubject(queryPrefix+subject)),
		q.svc.AddEndpoint("every", handler, micro.WithEndpointSubject(queryPrefix+everySubject(subject)), micro.WithEndpointQueueGroupDisabled()),
	)
}

func (q *Queries) respond(r micro.Request, h func() (any, error)) {
	answer, err := h()
	var data []byte
	if err == nil {
		data, err = encode(answer)
	}
	if err != nil {
		if fault.CodeOf(err) == fault.Internal {
			q.b.log.Error("query failed", fields(map[string]any{"subject": r.Subject(), "error": err.Error()})...)
		}
		err = r.Error(string(fault.CodeOf(err)), fault.MessageOf(err), nil)
	} else {
		err = q.send(r, data)
	}
	if err != nil {
		q.b.log.Warn("answer lost", fields(map[string]any{"subject": r.Subject(), "error": err.Error()})...)
	}
}

// unanswered says for people who has not answered.
func unanswered(err error, subject string) error {
	who := "catalog"
	if rest, ok := strings.CutPrefix(subject, "archive.any."); ok {
		destination, _, _ := strings.Cut(rest, ".")
		who = "worker with the destination " + destination
	} else if rest, ok := strings.CutPrefix(subject, "archive."); ok {
		pool, _, _ := strings.Cut(rest, ".")
		who = "worker of the pool " + pool
	} else if rest, ok := strings.CutPrefix(subject, "pool."); ok {
		pool, _, _ := strings.Cut(rest, ".")
		who = "worker of the pool " + pool
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fault.Wrap(ErrNobody, fault.Unavailable, "No %s is running; start one, or try again", who)
	case errors.Is(err, events.ErrUnavailable):
		return fault.Wrap(err, fault.Unavailable, "The NATS server is out of reach; try again")
	}
	return fault.Wrap(err, fault.Unavailable, "The %s does not answer in time; try again", who)
}

// decodeAnswer decodes an answer, or returns the error that it is.
func decodeAnswer(m *nats.Msg, answer any) error {
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		return fault.Errorf(fault.Code(code), "%s", m.Header.Get(micro.ErrorHeader))
	}
	if raw, ok := answer.(*[]byte); ok {
		*raw = m.Data
		return nil
	}
	return json.Unmarshal(m.Data, answer)
}
