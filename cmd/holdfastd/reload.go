package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/internal/config"
)

// reloader reads the configuration again when the process gets a hangup, and takes over
// the API keys and the TLS certificate. Everything else holds until the next start.
type reloader struct {
	load func() (config.Config, error)
	log  *zap.Logger

	mu    sync.Mutex
	now   config.Config // what was read last
	takes []func(config.Config) error
}

// add adds what takes over its part of a configuration, or leaves everything as it is
// and returns why. It is called at once, with what was read last.
func (r *reloader) add(take func(config.Config) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes = append(r.takes, take)
	return take(r.now)
}

// run reloads at each hangup until ctx ends.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
		}
		if err := r.reload(); err != nil {
			r.log.Error("the configuration was not reloaded whole; what is wrong stays as it was", zap.Error(err))
		} else {
			r.log.Info("API keys and TLS certificate reloaded; other settings are read at the next start")
		}
	}
}

func (r *reloader) reload() error {
	c, err := r.load()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = c
	var errs []error
	for _, take := range r.takes {
		errs = append(errs, take(c))
	}
	return errors.Join(errs...)
}

// certificate is the TLS certificate of the gateway.
type certificate struct {
	now atomic.Pointer[tls.Certificate]
}

// load reads the files of a configuration.
func (t *certificate) load(c config.Config) error {
	if c.HTTP.TLS.Cert == "" {
		return errors.New("http.tls: was there at the start and is not there any more; restart holdfastd to serve without TLS")
	}
	pair, err := tls.LoadX509KeyPair(c.HTTP.TLS.Cert, c.HTTP.TLS.Key)
	if err != nil {
		return fmt.Errorf("http.tls: %w", err)
	}
	t.now.Store(&pair)
	return nil
}

func (t *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.now.Load(), nil }
