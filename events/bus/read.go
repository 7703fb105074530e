package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/holdfast-dev/holdfast/events"
)

const (
	batch       = 500
	batchTime   = time.Second     // of one batch; the leader is asked for what is missing then
	leaderTime  = 2 * time.Second // of one request to the leader
	leaderTries = 2
)

// Read implements [events.Log]. The leader of the stream says where the aggregate
// ends. The events come in batches from any replica, which may be behind or stop
// answering: a batch that ends early is no end, and the leader gives the rest.
func (l *Log) Read(ctx context.Context, a events.Aggregate, after events.Revision) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		for m, err := range l.messages(ctx, a, after) {
			var env events.Envelope
			if err == nil {
				env, err = unmarshal(m.Subject, events.Revision(m.Sequence), m.Header.Get, m.Data)
			}
			if !yield(env, err) || err != nil {
				return
			}
		}
	}
}

// messages yields the stored events of an aggregate as Read does, and ends with the
// first error.
func (l *Log) messages(ctx context.Context, a events.Aggregate, after events.Revision) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		newest, err := l.b.leader(ctx, streamEvents, leaderRequest{LastFor: filter(a)})
		if errors.Is(err, events.ErrNoEvent) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		last, replicas := events.Revision(newest.Sequence), true
		for after < last {
			read := l.leaderNext
			if replicas {
				read = l.readBatch
			}
			before := after
			for m, err := range read(ctx, a, after) {
				if !yield(m, err) || err != nil {
					return
				}
				after = events.Revision(m.Sequence)
			}
			if after == before {
				replicas = false
			}
		}
	}
}

// readBatch yields the next events that a replica has. It ends without an error
// when the replica has no more, does not answer or breaks off.
func (l *Log) readBatch(ctx context.Context, a events.Aggregate, after events.Revision) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, batchTime)
		defer cancel()
		msgs, err := jetstreamext.GetBatch(ctx, l.b.js, streamEvents, batch, jetstreamext.GetBatchSubject(filter(a)), jetstreamext.GetBatchSeq(uint64(after)+1))
		if err != nil {
			return
		}
		for m, err := range msgs {
			if err != nil || !yield(m, nil) {
				return
			}
		}
	}
}

// leaderNext yields the next event that the leader has. It is called only when
// there is one.
func (l *Log) leaderNext(ctx context.Context, a events.Aggregate, after events.Revision) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		m, err := l.b.leader(ctx, streamEvents, leaderRequest{Seq: uint64(after) + 1, NextFor: filter(a)})
		if errors.Is(err, events.ErrNoEvent) {
			err = fmt.Errorf("%w: the leader has lost events of %s after revision %d", events.ErrUnavailable, a, after)
		}
		yield(m, err)
	}
}

// Last implements [events.Log].
func (l *Log) Last(ctx context.Context, a events.Aggregate) (events.Envelope, error) {
	m, err := l.b.leader(ctx, streamEvents, leaderRequest{LastFor: filter(a)})
	if err != nil {
		return events.Envelope{}, err
	}
	env, err := unmarshal(m.Subject, events.Revision(m.Sequence), m.Header.Get, m.Data)
	if errors.Is(err, events.ErrBroken) {
		return l.lastDecodable(ctx, a)
	}
	return env, err
}

// lastDecodable returns the newest event that can be decoded, under the revision of the
// newest one.
func (l *Log) lastDecodable(ctx context.Context, a events.Aggregate) (last events.Envelope, err error) {
	var newest events.Revision
	for m, err := range l.messages(ctx, a, 0) {
		if err != nil {
			return last, err
		}
		newest = events.Revision(m.Sequence)
		if env, err := unmarshal(m.Subject, newest, m.Header.Get, m.Data); err == nil {
			last = env
		}
	}
	last.Revision = newest
	if last.Event == nil {
		last.Event = events.Broken{Err: events.ErrBroken} // nothing is known
	}
	return last, nil
}

// filter returns the subject of all events of an aggregate.
func filter(a events.Aggregate) string { return eventPrefix + a.String() + ".>" }

// leaderRequest asks the leader of the stream for one message. jetstream.Stream
// asks any replica instead.
type leaderRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
}

type leaderAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
}

// leader returns a message of a stream, or [events.ErrNoEvent] if the leader says
// that there is none.
func (b *Bus) leader(ctx context.Context, stream string, r leaderRequest) (*jetstream.RawStreamMsg, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := b.connected(ctx); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		var m *jetstream.RawStreamMsg
		m, err = b.askLeader(ctx, stream, data)
		if err == nil || errors.Is(err, events.ErrNoEvent) || try == leaderTries || ctx.Err() != nil {
			return m, err
		}
	}
}

func (b *Bus) askLeader(ctx context.Context, stream string, request []byte) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
	defer cancel()
	answer, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, request)
	if err != nil {
		return nil, unavailable(err)
	}
	var got leaderAnswer
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, unavailable(err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, events.ErrNoEvent
	case got.Error != nil:
		return nil, unavailable(got.Error)
	case got.Message == nil:
		return nil, unavailable(jetstream.ErrInvalidJetStreamResponse)
	}
	m := got.Message
	out := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Seq, Data: m.Data, Time: m.Time}
	if len(m.Header) > 0 {
		if out.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("revision %d: headers: %w", m.Seq, err)
		}
	}
	return out, nil
}
