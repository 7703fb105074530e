// Package gateway offers the REST contract. It turns requests into commands on
// the log and into questions to the catalog, and holds no credentials of any
// database or destination: it can only ask.
//
// A request that waits, waits on the log: it watches the aggregate that its
// command is about and answers when the log says how it ended. A client that goes
// away cancels nothing.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	recoverer "github.com/gofiber/fiber/v2/middleware/recover"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/services/backup"
	"github.com/holdfast-dev/holdfast/services/catalog"
	"github.com/holdfast-dev/holdfast/services/gateway/monitor"
)

// Config says how to serve.
type Config struct {
	Listen  string        // host:port; port 0 chooses one
	TLS     *tls.Config   // nil: plain HTTP
	MaxWait time.Duration // how long a request waits for a backup at most

	MaxQueued int // jobs of a project that wait or run, beyond which requests are refused; 0: no limit

	Keys    []Key
	Monitor *monitor.Monitor // gets the gateway's warnings and metrics
	Metrics bool             // serve /metrics; false: another port of this process does
	Stall   time.Duration    // a client that takes nothing of an answer for so long is cut off; default 30 s
	Conns   int              // connections at a time; default 4096
	Logger  *zap.Logger
}

// Backend is what the gateway asks.
type Backend struct {
	Send     func(ctx context.Context, c events.Command, cause events.Cause) error
	Log      events.Log
	Catalog  catalog.Reader
	Watch    func(a events.Aggregate) (changed <-chan struct{}, stop func())
	Progress func(ctx context.Context, a events.Aggregate) (events.Progress, bool)
	Archive  func(ctx context.Context, pool string, q backup.ArchiveRead) ([]byte, error)
	Damage   func() *events.DamageError                           // what the log has lost; may be nil
	Alive    func(ctx context.Context, service, pool string) bool // reports whether a pool has a worker of a service; may be nil
	Queued   func(ctx context.Context) (int64, error)             // commands that nobody has taken; may be nil
	Health   func() error                                         // what keeps the log from being used just now; may be nil
	Sign     func(ctx context.Context, pool string, q backup.ArchiveSign) (string, error)

	// Room returns why nothing new may be taken, if so: the log needs what is left of its
	// disk for the end of what runs. May be nil.
	Room func() error
	// DeadLetters returns how many commands were set aside, and when the last one was; may
	// be nil.
	DeadLetters func(ctx context.Context) (n uint64, last time.Time, err error)
	// Backlog returns how many jobs of a project wait or run in a pool; may be nil.
	Backlog func(ctx context.Context, pool, project string) (uint64, error)
	// Waiting decodes the command of a verb about a job into cmd, if nobody has dealt with
	// it, and returns when it was sent; the zero time means that there is none.
	Waiting func(ctx context.Context, service, verb, id string, cmd any) (sent time.Time, err error)
	// Find returns the aggregate of a kind with an id, of whatever project, or
	// [events.ErrNoEvent].
	Find func(ctx context.Context, kind, id string) (events.Aggregate, error)
}

// Gateway serves the REST contract.
type Gateway struct {
	cfg       Config
	b         Backend
	app       *fiber.App
	listener  net.Listener
	metrics   *metrics
	waiting   places // of requests that wait
	downloads places
	keys      atomic.Pointer[map[string]Key] // by hash
	pools     pools
}

// Limits of what goes on at the same time. API keys share them, see [places].
const (
	maxWaiting   = 512
	maxDownloads = 32
)

const (
	bodyLimit     = 1 << 20
	headerLimit   = 20 << 10 // of the request line and all headers; proxies for single sign-on send cookies of 6 KiB and more
	shutdownGrace = 10 * time.Second
)

// New opens the port. The caller must call [Gateway.Run]. Until then nobody is answered.
func New(ctx context.Context, cfg Config, b Backend) (*Gateway, error) {
	g := &Gateway{
		cfg: cfg, b: b, waiting: places{all: maxWaiting}, downloads: places{all: maxDownloads},
		pools: pools{without: map[string]time.Time{}, noRestorer: map[string]time.Time{}},
	}
	g.SetKeys(cfg.Keys)
	if g.cfg.Stall == 0 {
		g.cfg.Stall = 30 * time.Second
	}
	if err := g.listen(ctx); err != nil {
		return nil, err
	}
	g.app = fiber.New(fiber.Config{
		AppName: "holdfast", DisableStartupMessage: true, Immutable: true, BodyLimit: bodyLimit, ReadBufferSize: headerLimit, ErrorHandler: g.answerError,
		ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, // no WriteTimeout: a download has a deadline of its own
		RequestMethods: methods(), DisablePreParseMultipartForm: true, CaseSensitive: true,
	})
	g.metrics = newMetrics(g.b, g.pools.workers)
	g.routes()
	g.guard()
	return g, nil
}

// listen opens the port.
func (g *Gateway) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return err
	}
	conns := g.cfg.Conns
	if conns == 0 {
		conns = maxConns
	}
	g.listener = &listener{Listener: l, places: &places{all: conns}, stall: g.cfg.Stall, plain: g.cfg.TLS == nil, log: g.cfg.Logger}
	if g.cfg.TLS != nil {
		g.listener = tls.NewListener(g.listener, g.cfg.TLS)
	}
	return nil
}

// SetKeys takes the place of the keys of [Config]: who has another is refused from now on.
func (g *Gateway) SetKeys(keys []Key) {
	byHash := make(map[string]Key, len(keys))
	for _, k := range keys {
		byHash[k.Hash] = k
	}
	g.keys.Store(&byHash)
}

// Addr returns where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

func (g *Gateway) routes() {
	m := g.cfg.Monitor
	m.Register(g.metrics, g.metrics.requests)
	m.Warn(g.warnings)
	m.Pools(g.pools.states)
	g.app.Use(g.accessLog, recoverer.New())
	g.app.Get("/healthz", adaptor.HTTPHandler(m.Healthz()))
	g.app.Get("/readyz", adaptor.HTTPHandler(m.Readyz()))
	if g.cfg.Metrics {
		g.app.Get("/metrics", adaptor.HTTPHandler(m.Metrics()))
	}

	api := g.app.Group("/api/v1", g.authenticate, unencoded, g.writable)
	read, write := need("backups", Read), need("backups", Write)
	api.Get("/backups", read, g.list)
	api.Post("/backups", write, g.create)
	api.Get("/backups/:id", read, g.get)
	api.Delete("/backups/:id", write, noBody, g.delete)
	api.Get("/backups/:id/download", read, g.download)
	api.Post("/backups/:id/verify", write, noBody, g.verify)
	api.Post("/backups/:id/cancel", write, noBody, g.cancel)
	api.Get("/projects", read, g.projects)
	api.Get("/projects/:id", read, g.getProject)
	api.Post("/backups/:id/restore", write, g.restore)
	api.Get("/restores/:id", read, g.getRestore)
	api.Post("/restores/:id/undo", write, noBody, g.undo)
	api.Post("/restores/:id/cancel", write, noBody, g.cancelRestore)
}

// writable refuses what would write while the log is damaged.
func (g *Gateway) writable(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet && c.Method() != fiber.MethodHead && g.b.Damage != nil {
		if d := g.b.Damage(); d != nil {
			return d
		}
	}
	return c.Next()
}

// Run serves until ctx ends, then lets running requests end for a moment.
func (g *Gateway) Run(ctx context.Context) error {
	wctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { g.watchPools(wctx) })
	defer watching.Wait()
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- g.app.Listener(g.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := g.app.ShutdownWithTimeout(shutdownGrace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the rest is cut off; nothing is lost by it
	}
	return errors.Join(err, <-ended)
}
