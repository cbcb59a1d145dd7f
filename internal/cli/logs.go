// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type logs struct {
	*plugin
	follow    bool
	container string

	cluster *cluster
	changes *changes
	// followed is the run, as far as it is known which that is.
	followed string
	// read is how much of each log has been written to stdout.
	read map[containerRun]*reading
	// said is what the user was told last.
	said string
}

func newLogs(p *plugin) *cobra.Command {
	l := &logs{plugin: p, read: map[containerRun]*reading{}}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the logs of a run",
		Long: `Print the logs of a run, or of the run that stands for a receipt: those of all its
Pods, the oldest first. With -f wait for the run to start, go on with the Pod of the
next attempt, and end when the run has ended. The exit code says whether the logs
could be read, not how the run ended.

The logs are on stdout; which Pod they are of is on stderr. For more, such as --since
or --tail: kubectl logs --selector batch.jobrun.dev/run=NAME.`,
		Example: `  # Follow a run, or the run that absorbed a trigger, from its first line to its end
  kubectl jobrun logs -f sync-users-7xk2p9q4wd`,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVarP(&l.follow, "follow", "f", false, "Follow the logs until the run has ended.")
	cmd.Flags().StringVarP(&l.container, "container", "c", "", "The container. Without it: the Pod's default container, else its first one.")
	return cmd
}

func (l *logs) run(ctx context.Context, argument string) error {
	name, err := parseName(argument)
	if err != nil {
		return err
	}
	if l.cluster, err = l.connected(); err != nil {
		return err
	}
	if l.follow {
		return l.followToTheEnd(ctx, name)
	}
	return unlessStopped(ctx, l.print(ctx, name))
}

// print writes what there is.
func (l *logs) print(ctx context.Context, name string) error {
	now, err := l.look(ctx, name)
	if err != nil {
		return err
	}
	if now.run == nil {
		return &hinted{fmt.Errorf("it is not settled yet which run stands for %s", name), "-f waits for it."}
	}
	pods := now.started(l.container)
	if len(pods) == 0 {
		return noLogs(now.run)
	}
	for _, c := range pods {
		if err := l.copy(ctx, c); err != nil {
			return fmt.Errorf("read the log of Pod %s: %w", c.pod.Name, err)
		}
	}
	return nil
}

// noLogs says why there are none.
func noLogs(run *v1alpha1.JobRun) error {
	switch {
	case !run.RunsAsJob():
		return &hinted{
			fmt.Errorf("run %s has no Pods: it has no template, and whoever executes it has its logs", run.Name),
			"Now: " + stateLine(run),
		}
	case run.Outcome() != "":
		return &hinted{fmt.Errorf("run %s has ended, and has no Pods (any more)", run.Name), "It ended so: " + stateLine(run)}
	default:
		return &hinted{fmt.Errorf("no Pod of run %s has started", run.Name), "-f waits for it. Now: " + stateLine(run)}
	}
}

// followToTheEnd writes the logs as they come until the run has ended.
func (l *logs) followToTheEnd(ctx context.Context, name string) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	l.changes = newChanges(l.cluster, l.Clock)
	l.changesOf(watching, name)
	for {
		done, err := l.turn(watching, name)
		if err == nil && !done {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-l.changes.may:
				continue
			}
		}
		if err != nil && ctx.Err() != nil {
			return &unfinished{cause: stopped(ctx), what: "run " + l.followed, again: display + " logs -f " + name}
		}
		return err
	}
}

// turn looks, writes what can be written now, and reports whether that was all.
func (l *logs) turn(ctx context.Context, name string) (done bool, err error) {
	now, err := l.look(ctx, name)
	if err != nil && passing(err) && ctx.Err() == nil {
		l.say("the API server does not answer: " + err.Error())
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if now.run != nil && now.run.Name != l.followed {
		l.changesOf(ctx, now.run.Name)
	}
	return l.step(ctx, now)
}

// step writes what can be written now, and reports whether that was all.
func (l *logs) step(ctx context.Context, now *situation) (done bool, err error) {
	if now.run == nil {
		l.say(stateLine(now.asked))
		return false, nil
	}
	if !now.run.RunsAsJob() {
		return false, noLogs(now.run)
	}
	for _, c := range now.started(l.container) {
		if err := l.stream(ctx, c); err != nil {
			return false, err
		}
	}
	l.say(stateLine(now.run))
	return now.run.Outcome() != "", nil
}

// changesOf follows the JobRun, and the Pods that it has if it is a run.
func (l *logs) changesOf(ctx context.Context, name string) {
	l.followed = name
	namespace := client.InNamespace(l.cluster.namespace)
	named := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", name)}
	l.changes.of(ctx, &v1alpha1.JobRunList{}, namespace, named)
	l.changes.of(ctx, podList(), namespace, client.MatchingLabels{v1alpha1.LabelRun: name})
}

// say tells the user on stderr what is new.
func (l *logs) say(what string) {
	if what != l.said {
		l.said = what
		fmt.Fprintln(l.Streams.ErrOut, what)
	}
}

// look reads the run that stands for a JobRun, and its Pods.
func (l *logs) look(ctx context.Context, name string) (*situation, error) {
	asked, err := l.cluster.runs.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	run, err := l.cluster.standing(ctx, asked)
	if errors.Is(err, jobrun.ErrNotFound) {
		return nil, &hinted{fmt.Errorf("the run that stands for %s is gone, and its logs with it: %w", name, err), "JobRun " + stateLine(asked)}
	}
	if err != nil || run == nil {
		return &situation{asked: asked}, err
	}
	pods, err := l.cluster.podsOf(ctx, run)
	return &situation{asked: asked, run: run, pods: pods}, err
}
