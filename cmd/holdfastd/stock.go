package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/holdfast-dev/holdfast/events/bus"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/services/backup/worker"
)

// withWorker gives f a worker on the log that does not serve, and the log. It may record
// what a damaged log has lost.
func withWorker(ctx context.Context, c config.Config, f func(*worker.Worker, *bus.Bus) error) error {
	b, detach, err := attach(ctx, c)
	if err != nil {
		return err
	}
	defer detach()
	state, err := b.Log().State(ctx)
	if err != nil {
		return err
	}
	c.Projects = nil // neither their databases nor their files are of interest
	wc, err := workerConfig(ctx, c, state.Identity, zap.NewNop())
	if err != nil {
		return err
	}
	return errors.Join(f(worker.New(wc, b.RepairLog()), b), closeAll(wc.Destinations))
}

func sweepCommand(o *options) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "sweep", Short: "Remove what attempts that have ended left at the destinations, and say what else the log does not know", Args: cobra.NoArgs,
		Long: "Looks through all destinations for objects and unfinished uploads that the log does not know or has superseded.\n" +
			"Removed is only what this installation has stored and what is older than a day. A running holdfastd does this once a day.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			return withWorker(cmd.Context(), c, func(w *worker.Worker, b *bus.Bus) error {
				found, err := w.Sweep(cmd.Context(), b.Log(), !dry)
				return errors.Join(printOrphans(cmd.OutOrStdout(), found), err)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what there is and remove nothing")
	return cmd
}

func printOrphans(out io.Writer, found []worker.Orphan) error {
	for _, o := range found {
		verb, kind := "found", fmt.Sprintf("%d bytes", o.Size)
		if o.Removed {
			verb = "removed"
		}
		if o.Upload {
			kind = "unfinished upload"
		}
		if _, err := fmt.Fprintf(out, "%s %s: %s (%s, since %s): %s\n", verb, o.Destination, o.Key, kind, o.Since.UTC().Format(time.RFC3339), o.Why); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d found, %d of them removed\n", len(found), worker.Removed(found))
	return err
}

func adoptCommand(o *options) *cobra.Command {
	var name string
	var projects []string
	cmd := &cobra.Command{
		Use: "adopt --destination NAME", Short: "Record the backups at a destination that the log does not know, such as after the loss of data_dir", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			return withWorker(cmd.Context(), c, func(w *worker.Worker, b *bus.Bus) error {
				all, err := w.Adopt(cmd.Context(), b.Log(), name, projects)
				return errors.Join(printAdoptions(cmd.OutOrStdout(), all), err)
			})
		},
	}
	cmd.Flags().StringVar(&name, "destination", "", "name of the destination in the configuration")
	cmd.Flags().StringSliceVar(&projects, "project", nil, "only the backups of these projects")
	_ = cmd.MarkFlagRequired("destination") // the flag exists
	return cmd
}

func printAdoptions(out io.Writer, all []worker.Adoption) error {
	var adopted, known, left int
	for _, a := range all {
		var err error
		switch {
		case a.Adopted:
			adopted++
			_, err = fmt.Fprintf(out, "adopted %s: %s\n", a.ID, a.Key)
		case a.Known:
			known++
		default:
			left++
			_, err = fmt.Fprintf(out, "left out %s: %s\n", a.Key, a.Why)
		}
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d adopted, %d known before, %d left out\n", adopted, known, left)
	return err
}
