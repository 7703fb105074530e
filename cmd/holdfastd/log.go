package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func logCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "The event log"}
	cmd.AddCommand(&cobra.Command{
		Use: "check", Short: "Say whether the event log is whole", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			b, detach, err := attach(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer detach()
			if d := b.Damage(); d != nil {
				return d
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The event log is whole.")
			return err
		},
	}, acceptCommand(o))
	return cmd
}

func acceptCommand(o *options) *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "accept --reason TEXT", Short: "Accept what the event log has lost, so that it is written again", Args: cobra.NoArgs,
		Long: "Accepts what the event log has lost: revisions that are missing, an end that was once further away, another log than before,\n" +
			"or archives that it does not know. Run `holdfastd adopt` for each destination first: it records the backups that were lost.\n" +
			"The reason is recorded in the log for ever. Every holdfastd on the log writes again within seconds.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			b, detach, err := attach(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer detach()
			d, err := b.Accept(cmd.Context(), reason)
			if err != nil {
				return err
			}
			text := "The event log is whole; there is nothing to accept."
			if d != nil {
				text = "Accepted. What was lost: " + d.Loss() + "."
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the log later")
	_ = cmd.MarkFlagRequired("reason") // the flag exists
	return cmd
}
