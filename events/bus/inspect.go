package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Inspect looks whether an external server or cluster is as a configuration says, and
// changes nothing there. The notes say what is otherwise and does no harm.
func Inspect(ctx context.Context, cfg Config) (notes []string, err error) {
	b, err := open(ctx, nil, cfg)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return nil, fmt.Errorf("JetStream is not enabled on the NATS server, or not for this account; enable it there: %w", err)
	}
	if b.replicas > 1 && b.nc.ConnectedClusterName() == "" {
		return nil, notClustered(b.replicas)
	}
	for _, c := range append(b.logStreams(), b.queueStreams()...) {
		name := c.Name
		s, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // made at the next start
		}
		if err != nil {
			return notes, fmt.Errorf("stream %s: %w", name, err)
		}
		switch n := s.CachedInfo().Config.Replicas; {
		case n < b.replicas:
			notes = append(notes, fmt.Sprintf("The stream %s has %d replicas; holdfastd gives it the %d of nats.replicas when it starts.", name, n, b.replicas))
		case n > b.replicas:
			notes = append(notes, fmt.Sprintf("The stream %s has %d replicas, more than the %d of nats.replicas; it keeps them.", name, n, b.replicas))
		}
	}
	return notes, nil
}

// notClustered says that one server cannot hold several replicas.
func notClustered(replicas int) error {
	return fmt.Errorf("nats.replicas is %d, but the NATS server is not part of a cluster: set it to 1, or let nats.url name a cluster", replicas)
}
