package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
)

// A job is a copy of the event that asks for it, in a work queue with one subject for
// each project.
const (
	jobPrefix     = "holdfast.job."
	headerSubject = "Holdfast-Subject"  // of the event
	headerRev     = "Holdfast-Revision" // of the event
	headerEventID = "ce-id"             // of the event

	enqueueAckWait = time.Second // nothing is enqueued for so long after a crash; what is enqueued twice is done once
)

// JobQueue says which jobs a handler gets, and how many at a time.
type JobQueue struct {
	Name    string // such as "backup"; no dash
	Pool    string
	Slots   int           // handlers at a time
	AckWait time.Duration // how soon after a crash another worker takes over
}

// JobSource says which events become jobs of a pool.
type JobSource struct {
	Name  string // durable, as in [EventSubscription]
	Kind  string
	Event string
	Pool  string
	Queue string // of events that this version cannot decode: their handler sets them aside
	// Route returns the queue of an event, or "" if it is no job of this pool.
	Route func(ctx context.Context, env events.Envelope) (queue string, err error)
}

// EnqueueJobs makes jobs of events, those of a project in the order of the log. When
// the stream of the jobs was lost, it begins at the start of the log again.
func (r *Router) EnqueueJobs(s JobSource) {
	sub := EventSubscription{Name: s.Name, Kind: s.Kind, Event: s.Event, Slots: 1, AckWait: enqueueAckWait}
	const pending = 1 // also with several processes, so that no job overtakes another
	r.subscribe(sub, pending, r.b.jobsIdentity, func(m *wm.Message) error {
		subject, rev, queue := m.Metadata.Get(metaSubject), m.Metadata.Get(metaSequence), s.Queue
		if env, err := openEvent(m, subject, rev); err == nil {
			if queue, err = s.Route(m.Context(), env); err != nil {
				return settle(m.Context(), err)
			}
		}
		if queue == "" {
			return nil
		}
		return settle(m.Context(), r.b.enqueue(m, queue, s.Pool, subject, rev))
	})
}

func (b *Bus) enqueue(m *wm.Message, queue, pool, subject, rev string) error {
	project, _, _ := strings.Cut(strings.TrimPrefix(subject, eventPrefix), ".")
	job := nats.NewMsg(jobPrefix + strings.Join([]string{queue, pool, project}, "."))
	for k, v := range m.Metadata {
		if !strings.HasPrefix(k, "Nats-") && k != metaSubject && k != metaSequence { // what was asked of the log when the event was stored
			job.Header.Set(k, v)
		}
	}
	job.Header.Set(headerSubject, subject)
	job.Header.Set(headerRev, rev)
	job.Data = m.Payload
	ctx, cancel := context.WithTimeout(m.Context(), sendTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, job, jetstream.WithMsgID(strings.Join([]string{queue, pool, rev, m.Metadata.Get(headerEventID)}, "/")))
	if b.storedFor(m.Context(), err); err != nil {
		return fmt.Errorf("job of revision %s: %w", rev, unavailable(err))
	}
	return nil
}

// jobsIdentity tells a stream of jobs from one that was made anew.
func (b *Bus) jobsIdentity(ctx context.Context) (string, error) {
	s, err := b.js.Stream(ctx, streamJobs)
	if err != nil {
		return "", err
	}
	return s.CachedInfo().Created.UTC().Format(time.RFC3339Nano), nil
}

// HandleJobs gives the jobs of a queue to h, those of different projects in turn, each
// as the event that has asked for it. A handler that returns [events.RetryAfter] waits
// for its turn, and the jobs of its project behind it.
func (r *Router) HandleJobs(q JobQueue, h events.Handler) {
	name := q.Name + "-" + q.Pool + "-job"
	topic := jobPrefix + strings.Join([]string{q.Name, q.Pool, "*"}, ".")
	sub := r.b.newQueue(queueConfig{Stream: streamJobs, Name: name, Slots: q.Slots, AckWait: q.AckWait})
	r.router.AddConsumerHandler(name, topic, sub, func(m *wm.Message) error {
		subject, rev := m.Metadata.Get(headerSubject), m.Metadata.Get(headerRev)
		lost, err := r.b.lostEvent(m.Context(), subject, rev, m.Metadata.Get(headerEventID))
		if err != nil {
			return settle(m.Context(), err)
		}
		if lost {
			r.b.log.Error("the event log has lost the event of a job, which is dropped", zap.String("subject", subject), zap.String("revision", rev))
			return nil
		}
		return r.handle(m, name, subject, rev, h)
	})
}

// lostEvent reports whether the log has another event than a job says, or none: it lost
// that one, and the loss was accepted.
func (b *Bus) lostEvent(ctx context.Context, subject, revision, id string) (bool, error) {
	rev, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		return false, nil //nolint:nilerr // the handler says so
	}
	if d := b.Damage(); d != nil {
		return false, unavailable(d)
	}
	m, err := b.leader(ctx, streamEvents, leaderRequest{Seq: rev})
	if errors.Is(err, events.ErrNoEvent) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return m.Subject != subject || m.Header.Get(headerEventID) != id, nil
}

// Backlog returns how many commands and jobs of a project wait in a pool or are being
// handled.
func (b *Bus) Backlog(ctx context.Context, pool, project string) (n uint64, err error) {
	of := "*." + pool + "." + project
	for stream, filter := range map[string]string{streamCommands: commandPrefix + of + ".>", streamJobs: jobPrefix + of} {
		subjects, err := b.subjects(ctx, stream, filter)
		if err != nil {
			return 0, unavailable(err)
		}
		for _, count := range subjects {
			n += count
		}
	}
	return n, nil
}
