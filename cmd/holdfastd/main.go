// Command holdfastd runs Holdfast: every service on an embedded NATS server, or a
// chosen set of them on an external one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/destination/drivers"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/logging"
	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/services/gateway"
)

// The garbage collector has little to do here, since data runs through buffers that
// are used again; so it may look a bit more often than usual. Measured: 40 saves
// another 5 MB and costs a third of the speed of downloads.
const (
	gcPercent   = 80
	memoryLimit = 90 << 20 // a wish, not a wall
)

func main() {
	if _, set := os.LookupEnv("GOGC"); !set { //nolint:forbidigo // the runtime's own variable
		debug.SetGCPercent(gcPercent)
	}
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set { //nolint:forbidigo // as above
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "holdfastd:", err)
		os.Exit(1) //nolint:gocritic // stop only restores signals
	}
}

// options are the flags of all commands.
type options struct {
	config string
	level  string
}

func (o *options) load() (config.Config, error) {
	return config.Load(o.config, config.Checks{
		Destination: func(name string) (any, bool) { return drivers.New(name) }, Recipient: checkRecipient, Pattern: checkPattern,
	})
}

// checkRecipient says what is wrong with a recipient, without showing it.
func checkRecipient(text string) error {
	if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
		return errors.New("is an identity, which decrypts: keep it secret, and write the recipient here that `age-keygen -y` prints of it")
	}
	if _, err := age.ParseX25519Recipient(text); err != nil {
		return errors.New("is not an age recipient (age1…), or has been mistyped")
	}
	return nil
}

func checkPattern(pattern string) error {
	if project.CheckPattern(pattern) != nil {
		return errors.New("is not relative to the root, or its brackets do not close")
	}
	return nil
}

func root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "holdfastd", Short: "Back up self-hosted Supabase projects and prove that they come back",
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			log, err := logging.New(cmd.OutOrStdout(), o.level)
			if err != nil {
				return err
			}
			releaseProgram()
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			return run(cmd.Context(), c, o.load, hangups, log, cmd.ErrOrStderr())
		},
	}
	cmd.PersistentFlags().StringVar(&o.config, "config", "", "configuration file (default: what "+config.Variable+" names, else none)")
	cmd.Flags().StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(configCommand(o), keysCommand(), projectCommand(o), sweepCommand(o), adoptCommand(o), logCommand(o))
	return cmd
}

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "API keys"}
	name := ""
	add := &cobra.Command{
		Use: "new", Short: "Print a new key and the line for the configuration file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := gateway.NewKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nkeys:\n  - {name: %s, hash: %q, permissions: {backups: write}, projects: [\"*\"], expires: \"\"}\n", key, name, gateway.HashKey(key))
			return err
		},
	}
	add.Flags().StringVar(&name, "name", "new", "name of the key")
	cmd.AddCommand(add)
	return cmd
}
