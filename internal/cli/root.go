// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// display is the name of the plugin in its texts.
const display = "kubectl jobrun"

const rootLong = `Trigger runs with a key, wait for them, and see their outcome.

For each job and key at most one run executes and at most one waits. A trigger
that finds a run waiting is refused (conflict). With --coalesce the waiting run
absorbs it: its JobRun is then a receipt, which takes over the outcome of that
run. The NAME of a JobRun can be that of a run or of a receipt, and can be
written as jobrun/NAME.

` + exitCodesHelp

func newRoot(o Options) *cobra.Command {
	p := &plugin{Options: o, config: genericclioptions.NewConfigFlags(true)}
	p.config.CacheDir = nil // nothing is discovered
	root := &cobra.Command{
		Use:           "jobrun",
		Short:         "Trigger runs with a key, and follow them",
		Long:          rootLong,
		Version:       o.Version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: display},
		SilenceUsage:  true,
		SilenceErrors: true,
		// kubectl asks kubectl_complete-jobrun; no shell calls the plugin itself.
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
		DisableFlagsInUseLine: true,
		Args:                  noCommandOf,
		// The number of wrong letters for which a command is still suggested.
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(o.Streams.In)
	root.SetOut(o.Streams.Out)
	root.SetErr(o.Streams.ErrOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.Flags().Bool("version", false, "print the version of this plugin, as the command version does") // cobra's own has -v, too
	root.SetVersionTemplate("{{.DisplayName}} {{.Version}}\n")
	p.config.AddFlags(root.PersistentFlags())
	root.AddCommand(
		newTrigger(p), newWait(p), newRetrigger(p), newCancel(p),
		newDefinitions(p), newList(p), newDescribe(p), newLogs(p), newKeys(p), newReleaseKey(p),
		newWorker(p), newClaim(p), newRenew(p), newProgress(p), newComplete(p), newFail(p), newRelease(p),
		newConvert(p), newVersion(p), newFlagsTopic(),
	)
	root.SetUsageTemplate(usageTemplate)
	completeConfigFlags(p, root)
	return root
}

// noCommandOf refuses an unknown command.
func noCommandOf(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return &usageError{errors.New(message)}
}

// usageTemplate leaves out the flags that all commands have, as kubectl does: `options` lists them.
const usageTemplate = `Usage:
  {{.UseLine}}{{if .HasAvailableSubCommands}} COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if and .HasParent .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Use "kubectl jobrun options" for the flags that all commands have, such as --namespace and --context.
`

// newFlagsTopic returns the command `options`.
func newFlagsTopic() *cobra.Command {
	return &cobra.Command{
		Use:               "options",
		Short:             "List the flags that all commands have",
		Args:              arguments(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Every command takes these flags:\n\n%s", cmd.InheritedFlags().FlagUsages())
			return err
		},
	}
}

// arguments makes an error of a check of arguments a usage error.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// one returns a check that there is one argument. Its error calls the argument what the usage calls it.
func one(argument string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		got := "none is given"
		if len(args) > 0 {
			got = "these are given: " + strings.Join(args, " ")
		}
		return fmt.Errorf("`%s %s` takes one %s, and %s", cmd.Name(), argument, argument, got)
	}
}
