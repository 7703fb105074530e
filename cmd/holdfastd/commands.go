package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/events"
	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/services/backup"
)

func configCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "The configuration file"}
	connect := false
	check := &cobra.Command{
		Use: "check", Short: "Say everything that is wrong with the configuration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			if err := checkParts(cmd.Context(), cmd.OutOrStdout(), c, connect); err != nil {
				return err
			}
			text := "The configuration is good. It was read from " + c.File + "."
			if c.File == "" {
				text = "No configuration file was read: neither --config nor " + config.Variable + " names one. The defaults are good, and hold no project."
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	check.Flags().BoolVar(&connect, "connect", false, "try the connections as well")
	cmd.AddCommand(check)
	return cmd
}

// checkParts finds the parts of the projects and, if asked to, tries the
// connections. It writes what it finds to out.
func checkParts(ctx context.Context, out io.Writer, c config.Config, try bool) error {
	errs := []error{checkProjects(ctx, out, c, try)}
	for _, k := range c.Keys {
		if at, err := k.ExpiresAt(); err == nil && expired(at) {
			_, err := fmt.Fprintf(out, "The key %s has expired and is refused.\n", k.Name)
			errs = append(errs, err)
		}
	}
	if c.HTTP.TLS.Cert != "" {
		errs = append(errs, new(certificate).load(c))
	}
	_, err := identities(c)
	errs = append(errs, err)
	if try {
		errs = append(errs, tryDestinations(ctx, out, c))
		if c.NATS.URL != "" {
			errs = append(errs, inspect(ctx, out, c))
		}
	}
	return errors.Join(errs...)
}

// inspect looks at the NATS server without changing anything there.
func inspect(ctx context.Context, out io.Writer, c config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	notes, err := bus.Inspect(ctx, busConfig(c))
	for _, note := range notes {
		_, werr := fmt.Fprintln(out, note)
		err = errors.Join(err, werr)
	}
	return err
}

// tryTimeout is how long a destination may take for a trial.
const tryTimeout = 2 * time.Minute

// tryDestinations stores a small object at each destination, reads it back and
// deletes it.
func tryDestinations(ctx context.Context, out io.Writer, c config.Config) error {
	stores, err := openDestinations(ctx, c, "")
	if err != nil {
		return err
	}
	errs := []error{}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		err := destination.Probe(ctx, stores[name])
		cancel()
		if lock, ok := errors.AsType[*destination.Error](err); ok && errors.Is(err, destination.ErrLocked) {
			_, err = fmt.Fprintf(out, "Destination %s works, and keeps what it has, the small object of this trial as well: %s.\n", name, lock.Advice)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("destination %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, closeAll(stores))...)
}

func projectCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "project", Short: "Projects"}
	cmd.AddCommand(&cobra.Command{
		Use: "remove ID", Short: "Say that a project is no longer backed up; its backups stay. Take it out of the configuration first",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			return removeProject(cmd.Context(), c, args[0])
		},
	})
	return cmd
}

func removeProject(ctx context.Context, c config.Config, id string) error {
	for _, p := range c.Projects {
		if p.ID == id {
			return fmt.Errorf("project %s is still in the configuration, so the next start would register it again; take it out first", id)
		}
	}
	b, detach, err := attach(ctx, c)
	if err != nil {
		return err
	}
	defer detach()
	_, err = events.UpdateLast(ctx, b.Log(), events.ProjectAggregate(id), events.Cause{Actor: "system"}, backup.Remove)
	if errors.Is(err, events.ErrNoChange) {
		return fmt.Errorf("there is no project %s", id)
	}
	return err
}
