// Package serve runs the services of one process together.
package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Service is something that runs until its context ends.
type Service struct {
	Name string // stands before its errors, unless it is empty
	// Run blocks until ctx ends and everything it started has ended. An error
	// before that stops all other services.
	Run func(ctx context.Context) error
}

// ErrGrace is returned by All when a service did not end in time.
var ErrGrace = errors.New("serve: a service did not stop in time")

// All runs services until ctx ends or one of them fails, then gives the others
// grace to end. It returns the first error.
func All(ctx context.Context, grace time.Duration, services ...Service) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range services {
		g.Go(func() error {
			err := s.Run(ctx)
			switch {
			case err == nil || errors.Is(err, context.Canceled):
				return nil
			case s.Name == "":
				return err
			}
			return fmt.Errorf("%s: %w", s.Name, err)
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(grace):
		return ErrGrace
	}
}
