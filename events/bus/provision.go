package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const dialWait = 500 * time.Millisecond // before another try

// dial connects, again and again while nobody is there.
func (b *Bus) dial(ctx context.Context, to string, opts []nats.Option) (*nats.Conn, error) {
	var said notice
	for {
		nc, err := nats.Connect(to, opts...)
		if err == nil {
			return nc, nil
		}
		err = fmt.Errorf("connect to %s: %w", redacted(to), err)
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) {
			return nil, err
		}
		if said.due(err.Error()) {
			b.log.Warn("waiting for the NATS server", zap.Error(err))
		}
		if !sleep(ctx, dialWait) {
			return nil, err
		}
	}
}

// redacted names the server of a URL, without its password.
func redacted(to string) string {
	if to == "" {
		return "the embedded NATS server"
	}
	if u, err := url.Parse(to); err == nil {
		return "NATS at " + u.Redacted()
	}
	return "NATS at nats.url"
}

const day = 24 * time.Hour

// logStreams keep what has happened.
func (b *Bus) logStreams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: streamEvents, Subjects: []string{"holdfast.evt.*.*.*.*"}, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute,
			DenyDelete: true, DenyPurge: true, AllowDirect: true, MaxMsgSize: 256 << 10,
		},
		{Name: streamDLQ, Subjects: []string{dlqPrefix + ">"}, MaxAge: 90 * day},
		{
			Name: streamProgress, Subjects: []string{progressPrefix + "*.*.*"}, Storage: jetstream.MemoryStorage,
			MaxAge: time.Hour, MaxMsgsPerSubject: 1, AllowDirect: true,
		},
	}
}

// queueStreams keep what has to be done.
func (b *Bus) queueStreams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: streamCommands, Subjects: []string{commandPrefix + "*.*.*.*", commandPrefix + "*.*.*.*.*"}, Retention: jetstream.WorkQueuePolicy,
			Discard: jetstream.DiscardNew, MaxAge: 7 * day, MaxMsgs: 1_000_000, AllowDirect: true,
		},
		{
			Name: streamJobs, Subjects: []string{jobPrefix + "*.*.*"}, Retention: jetstream.WorkQueuePolicy,
			Discard: jetstream.DiscardNew, AllowDirect: true, // no age: the log expects that they are done
		},
	}
}

// provision creates the streams that are missing.
func (b *Bus) provision(ctx context.Context, streams []jetstream.StreamConfig) error {
	for _, c := range streams {
		c.Replicas = b.replicas
		if err := b.createStream(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// replicasNotSupported is the code of a server outside a cluster.
const replicasNotSupported jetstream.ErrorCode = 10074

// createStream tries until the server has JetStream, and a cluster its leader.
func (b *Bus) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	var said notice
	for {
		tctx, cancel := context.WithTimeout(ctx, 2*time.Second) // without a leader there is no answer at all
		_, err := b.js.CreateStream(tctx, c)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			err = b.raise(tctx, c)
		}
		cancel()
		api, known := errors.AsType[*jetstream.APIError](err)
		switch {
		case err == nil:
			return nil
		case known && api.ErrorCode == replicasNotSupported:
			return notClustered(c.Replicas)
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
			err = fmt.Errorf("JetStream is not enabled on the NATS server; enable it there: %w", err)
		}
		err = fmt.Errorf("stream %s: %w", c.Name, err)
		if said.due(err.Error()) {
			b.log.Warn("waiting for JetStream", zap.Error(err))
		}
		if !sleep(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// raise gives a stream that is there the subjects that it lacks, and the replicas of the
// configuration, if it has fewer. Otherwise it is left as it is: its limits may have been
// tuned by the operator.
func (b *Bus) raise(ctx context.Context, c jetstream.StreamConfig) error {
	s, err := b.js.Stream(ctx, c.Name)
	if err != nil {
		return err
	}
	now := s.CachedInfo().Config
	changed := false
	for _, subject := range c.Subjects { // an earlier version has made it
		if !slices.Contains(now.Subjects, subject) {
			now.Subjects, changed = append(now.Subjects, subject), true
		}
	}
	switch {
	case now.Replicas > c.Replicas:
		b.log.Warn("the stream has more replicas than nats.replicas; it keeps them", zap.String("stream", c.Name), zap.Int("replicas", now.Replicas))
	case now.Replicas < c.Replicas:
		b.log.Warn("the stream has fewer replicas than nats.replicas; it gets them now", zap.String("stream", c.Name), zap.Int("replicas", now.Replicas))
		now.Replicas, changed = c.Replicas, true
	}
	if changed {
		_, err = b.js.UpdateStream(ctx, now)
	}
	return err
}
