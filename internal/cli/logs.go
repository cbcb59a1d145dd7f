// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type logs struct {
	*plugin
	follow bool

	name    string
	cluster *cluster
	changes *changes
	told    *plainLines
	// followed is the run, or the JobRun that was asked for until the run is known.
	followed string
	// read holds a reading for each start of a container.
	read map[string]*reading
}

// reading is how far a log was printed.
type reading struct {
	bytes    int64
	complete bool
}

func newLogs(p *plugin) *cobra.Command {
	l := &logs{plugin: p, told: &plainLines{out: p.Streams.ErrOut}, read: map[string]*reading{}}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the logs of a run",
		Long: `Print the logs of a run, or of the run that stands for a receipt: those of all its
Pods, the oldest first. With -f, wait for the run to start, continue with the Pod of the
next attempt, and stop when the run has ended. The exit code tells whether the logs could
be read, not how the run ended.

Logs go to stdout. The names of the run and of its Pods go to stderr. For another
container, --since or --tail: kubectl logs --selector batch.jobrun.dev/run=NAME.`,
		Example: `  # Follow a run, or the run that absorbed a trigger, from its first line to its end
  kubectl jobrun logs -f sync-users-7xk2p9q4wd`,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVarP(&l.follow, "follow", "f", false, "Follow the logs until the run has ended.")
	return cmd
}

func (l *logs) run(ctx context.Context, argument string) (err error) {
	if l.name, err = parseName(argument); err != nil {
		return err
	}
	if l.cluster, err = l.connected(); err != nil {
		return err
	}
	if !l.follow {
		_, err = l.turn(ctx)
		return unlessStopped(ctx, err)
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	l.changes = newChanges(l.cluster)
	l.watch(watching, l.name)
	for {
		done, err := l.turn(watching)
		switch {
		case ctx.Err() != nil:
			return &unfinished{cause: stopped(ctx), what: "run " + l.followed, again: display + " logs -f " + l.name}
		case done, err != nil && !passing(err):
			return err
		case err != nil:
			l.told.say("the API server does not answer: " + err.Error())
			l.changes.retry(ctx)
		}
		select {
		case <-ctx.Done():
		case <-l.changes.may:
		}
	}
}

// watch watches a JobRun, and the Pods of the run of that name.
func (l *logs) watch(ctx context.Context, name string) {
	l.followed = name
	namespace := client.InNamespace(l.cluster.namespace)
	l.changes.of(ctx, &v1alpha1.JobRunList{}, namespace, client.MatchingFields{"metadata.name": name})
	l.changes.of(ctx, &corev1.PodList{}, namespace, client.MatchingLabels{v1alpha1.LabelRun: name})
}

// turn prints what can be printed now, and reports whether that was all.
func (l *logs) turn(ctx context.Context) (done bool, err error) {
	run, err := l.find(ctx)
	if err != nil || run == nil {
		return false, err
	}
	pods, err := l.cluster.podsOf(ctx, run)
	if err != nil {
		return false, err
	}
	done = run.Outcome() != ""
	for i := range pods {
		complete, err := l.print(ctx, &pods[i])
		if err != nil {
			return false, fmt.Errorf("read the log of Pod %s: %w", pods[i].Name, err)
		}
		done = done && complete
	}
	switch {
	case l.follow && run.RunsAsJob():
		l.told.show(run)
	case len(l.read) == 0:
		return false, noLogs(run)
	}
	return done, nil
}

// find returns the run that stands for the JobRun, or nil while --follow waits until that is settled.
func (l *logs) find(ctx context.Context) (*v1alpha1.JobRun, error) {
	asked, err := l.cluster.runs.Get(ctx, l.name)
	if err != nil {
		return nil, err
	}
	run, err := l.cluster.standing(ctx, asked)
	switch {
	case errors.Is(err, jobrun.ErrNotFound):
		return nil, &hinted{fmt.Errorf("the run that stands for %s is gone, and its logs with it: %w", l.name, err), "JobRun " + stateLine(asked)}
	case err != nil:
		return nil, err
	case run == nil && !l.follow:
		return nil, &hinted{fmt.Errorf("it is not settled yet which run stands for %s", l.name), "-f waits for it."}
	case run == nil:
		l.told.show(asked)
	case run != asked && run.Name != l.followed:
		l.told.show(asked) // names the run
		if l.follow {
			l.watch(ctx, run.Name)
		}
	}
	return run, nil
}

// noLogs returns an error that tells why a run has no logs.
func noLogs(run *v1alpha1.JobRun) error {
	why := "none of its Pods has started; -f waits for one"
	switch {
	case !run.RunsAsJob():
		why = "it has no template, and its worker has its logs"
	case run.Outcome() != "":
		why = "it has ended, and its Pods are gone"
	}
	return &hinted{fmt.Errorf("run %s has no logs: %s", run.Name, why), "Now: " + stateLine(run)}
}

// print prints what was not printed yet of a Pod's log, and reports whether that was all.
func (l *logs) print(ctx context.Context, pod *corev1.Pod) (complete bool, err error) {
	container := started(pod)
	if container == nil {
		return true, nil
	}
	id := fmt.Sprintf("%s/%d", pod.UID, container.RestartCount)
	r := l.read[id]
	switch {
	case r == nil:
		r = &reading{}
		l.read[id] = r
		fmt.Fprintf(l.Streams.ErrOut, "==> pod/%s, generation %s\n", pod.Name, pod.Annotations[v1alpha1.AnnotationGeneration])
	case r.complete:
		return true, nil
	}
	err = l.copy(ctx, pod, container.Name, r)
	switch {
	case !l.follow:
		return true, err
	case apierrors.IsNotFound(err):
		r.complete = true
		l.told.say(fmt.Sprintf("Pod %s is gone, and the rest of its log with it", pod.Name))
		return true, nil
	case err != nil && !passing(err) && !notYet(err):
		return false, err
	}
	// A stream that was opened while the container ran may have broken off before its end.
	r.complete = err == nil && container.State.Terminated != nil
	if !r.complete {
		l.changes.retry(ctx)
	}
	return r.complete, nil
}

// copy writes a log to stdout, from where it was read to.
func (l *logs) copy(ctx context.Context, pod *corev1.Pod, container string, r *reading) error {
	log, err := l.cluster.openLog(ctx, pod, &corev1.PodLogOptions{Container: container, Follow: l.follow})
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(log, r.bytes)); err != nil {
		return err
	}
	n, err := io.Copy(l.Streams.Out, log)
	r.bytes += n
	return err
}

// started returns the Pod's default container, else its first one; nil if it has not started.
func started(pod *corev1.Pod) *corev1.ContainerStatus {
	name := cmp.Or(pod.Annotations["kubectl.kubernetes.io/default-container"], pod.Spec.Containers[0].Name)
	i := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == name && (s.State.Running != nil || s.State.Terminated != nil)
	})
	if i < 0 {
		return nil
	}
	return &pod.Status.ContainerStatuses[i]
}

// notYet reports whether the node has no log yet of a container that the Pod's status shows as started.
func notYet(err error) bool {
	return apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "is waiting to start")
}
