package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
)

// Config says how to reach NATS.
type Config struct {
	URL      string // of an external server or cluster; ignored with an embedded Server
	Socket   string // path of a socket that leads to the embedded Server of another process; instead of URL
	User     string // of that server, with Password, if it has one
	Password string
	Creds    string // credentials file
	CA       string // PEM file of the server's certificate authority
	Cert     string // client certificate, with Key
	Key      string
	Replicas int    // of the streams: 1, or 3 on a cluster; default 1
	Name     string // of this process, for the server's monitoring
	Logger   *zap.Logger
}

// Bus is a connection to NATS with Holdfast's streams on it. Goroutines may
// share it.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	log      *zap.Logger
	unstored atomic.Int64
	storedAt atomic.Int64 // when the server last stored something, in nanoseconds since 1970
	away     atomic.Bool  // the server is; the connection's own status cannot be asked while it is made again
	damage   atomic.Pointer[events.DamageError]

	unpublished atomic.Bool // other processes do not know the damage yet

	suspects suspects
	said     notices

	mu       sync.Mutex
	known    events.LogState    // what the log was when it was last whole; zero if not known
	troubles map[string]trouble // what does not work now
	toldAt   time.Time          // when another process, or this one, has said that the server stores nothing

	suspicions map[events.LogState]sighting // ends of the log that were known and are not seen
}

const pingInterval = 5 * time.Second

// Streams.
const (
	streamEvents   = "HOLDFAST_EVENTS"
	streamCommands = "HOLDFAST_COMMANDS"
	streamJobs     = "HOLDFAST_JOBS"
	streamDLQ      = "HOLDFAST_DLQ"
	streamProgress = "HOLDFAST_PROGRESS"
)

// Connect connects to srv, or to cfg.URL if srv is nil, and creates what is
// missing of the streams. It waits for a server that is not there yet, and for a
// cluster that is still electing, until ctx ends, and logs what it waits for. The
// caller must call [Bus.Close].
func Connect(ctx context.Context, srv *Server, cfg Config) (*Bus, error) {
	b, err := open(ctx, srv, cfg)
	if err != nil {
		return nil, err
	}
	if err := b.provision(ctx, append(b.logStreams(), b.queueStreams()...)); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// open connects to NATS and leaves everything there as it is.
func open(ctx context.Context, srv *Server, cfg Config) (*Bus, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	b := &Bus{replicas: max(1, cfg.Replicas), log: cfg.Logger, troubles: map[string]trouble{}, suspicions: map[events.LogState]sighting{}}
	opts := []nats.Option{
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(1), // a server that hangs is left after twice the interval
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.away.Store(true)
			cfg.Logger.Warn("nats disconnected", zap.Error(err))
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.away.Store(false)
			cfg.Logger.Info("nats reconnected")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.Logger.Warn("nats", zap.Error(err)) }),
	}
	if srv != nil {
		opts, cfg.URL = append(opts, srv.options()...), ""
	} else if cfg.Socket != "" {
		opts, cfg.URL = append(opts, nats.SetCustomDialer(socketDialer(cfg.Socket)), nats.UserInfo(cfg.User, cfg.Password)), "nats://holdfastd"
	} else {
		if cfg.Creds != "" {
			opts = append(opts, nats.UserCredentials(cfg.Creds))
		}
		if cfg.CA != "" {
			opts = append(opts, nats.RootCAs(cfg.CA))
		}
		if cfg.Cert != "" {
			opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
		}
	}
	nc, err := b.dial(ctx, cfg.URL, opts)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	b.nc, b.js = nc, js
	if err := b.listen(); err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return b, nil
}

// Close ends the connection. Stop what uses the bus first.
func (b *Bus) Close() { b.nc.Close() }

// Unstored returns how many tries to store something the server has left without
// a good answer since the last call. An embedded server that has once met a full
// disk refuses a stream's writes until it is restarted, and says so in no other
// way.
func (b *Bus) Unstored() int64 { return b.unstored.Swap(0) }

// watermillLog writes what Watermill says into zap. Its Info is chatter.
type watermillLog struct {
	l    *zap.Logger
	said *notices // while the log is away each delivery fails with the same error
}

func (b *Bus) watermill() watermillLog { return watermillLog{b.log, &b.said} }

// Error implements watermill.LoggerAdapter.
func (w watermillLog) Error(msg string, err error, f watermill.LogFields) {
	if _, wanted := events.RetryDelay(err); wanted { // a handler that waits for its turn
		w.l.Debug(msg, append(fields(f), zap.Error(err))...)
		return
	}
	if errors.Is(err, events.ErrUnavailable) && !w.said.due(msg+err.Error()) {
		return
	}
	w.l.Error(msg, append(fields(f), zap.Error(err))...)
}

// Info implements watermill.LoggerAdapter.
func (w watermillLog) Info(msg string, f watermill.LogFields) { w.l.Debug(msg, fields(f)...) }

// Debug implements watermill.LoggerAdapter.
func (w watermillLog) Debug(msg string, f watermill.LogFields) { w.l.Debug(msg, fields(f)...) }

// Trace implements watermill.LoggerAdapter.
func (watermillLog) Trace(string, watermill.LogFields) {}

// With implements watermill.LoggerAdapter.
func (w watermillLog) With(f watermill.LogFields) watermill.LoggerAdapter {
	return watermillLog{w.l.With(fields(f)...), w.said}
}

func fields(f watermill.LogFields) []zap.Field {
	out := make([]zap.Field, 0, len(f))
	for k, v := range f {
		out = append(out, zap.Any(k, v))
	}
	return out
}
