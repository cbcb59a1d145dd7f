// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type logsOptions struct {
	named
	follow bool

	changes *changes
	told    *plainLines
	// followed is the run whose logs are printed. Until that run is known, it is the JobRun that the user named.
	followed string
	// toldGone is true once the attempts were told whose logs are gone.
	toldGone bool
	// read holds a reading for each start of a container.
	read map[string]*reading
}

// reading is how far a log was printed.
type reading struct {
	bytes    int64
	complete bool
}

func newLogsOptions(p *plugin) *logsOptions {
	return &logsOptions{named: named{plugin: p}, told: &plainLines{out: p.Streams.ErrOut}, read: map[string]*reading{}}
}

func newLogs(p *plugin) *cobra.Command {
	o := newLogsOptions(p)
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the logs of a run",
		Long: `Print the logs of a run, or of the run that stands for a receipt: those of all its
Pods, the oldest first. With -f, wait for the run to start, continue with the Pod of the
next attempt, and stop when the run has ended. The exit code tells whether the logs could
be read, not how the run ended. Attempts whose Pods are gone are named on stderr.

Logs go to stdout. The names of the run and of its Pods go to stderr. For another
container, --since or --tail: kubectl logs --selector batch.jobrun.dev/run=NAME.`,
		Example:           "  # Follow a run from its first line to its end\n  kubectl jobrun logs -f sync-users-7xk2p9q4wd",
		Args:              arguments(one("NAME")),
		ValidArgsFunction: p.completeRuns,
		RunE:              runE(o),
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "Follow the logs until the run has ended.")
	return cmd
}

func (o *logsOptions) Run(ctx context.Context) error {
	if !o.follow {
		_, err := o.turn(ctx)
		return unlessStopped(ctx, err)
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	o.changes = newChanges(o.api)
	o.watch(watching, o.name)
	for {
		done, err := o.turn(watching)
		switch {
		case ctx.Err() != nil:
			return &unfinished{cause: stopped(ctx), what: "run " + o.followed, again: display + " logs -f " + o.name}
		case done, err != nil && !passing(err):
			return err
		case err != nil:
			o.told.say("the API server does not answer: " + err.Error())
			o.changes.retry(ctx)
		}
		select {
		case <-ctx.Done():
		case <-o.changes.may:
		}
	}
}

// watch watches a JobRun, and the Pods of the run of that name.
func (o *logsOptions) watch(ctx context.Context, name string) {
	o.followed = name
	namespace := client.InNamespace(o.namespace)
	o.changes.of(ctx, &v1alpha1.JobRunList{}, namespace, client.MatchingFields{"metadata.name": name})
	o.changes.of(ctx, &corev1.PodList{}, namespace, client.MatchingLabels{v1alpha1.LabelRun: name})
}

// turn prints what can be printed now, and reports whether that was all.
func (o *logsOptions) turn(ctx context.Context) (done bool, err error) {
	run, err := o.find(ctx)
	if err != nil || run == nil {
		return false, err
	}
	pods, err := o.podsOf(ctx, run)
	if err != nil {
		return false, err
	}
	if err := o.tellGone(ctx, run, pods); err != nil {
		return false, err
	}
	done = run.Outcome() != ""
	for i := range pods {
		complete, err := o.print(ctx, &pods[i])
		if err != nil {
			return false, fmt.Errorf("read the log of Pod %s: %w", pods[i].Name, err)
		}
		done = done && complete
	}
	switch {
	case o.follow && run.RunsAsJob():
		o.told.show(run)
	case len(o.read) == 0:
		return false, noLogs(run)
	}
	return done, nil
}

// tellGone tells once of the attempts whose logs are gone. Without the right to read Events, it knows only their number.
func (o *logsOptions) tellGone(ctx context.Context, run *v1alpha1.JobRun, pods []corev1.Pod) error {
	if o.toldGone || run.Status.Attempts == 0 || !run.RunsAsJob() {
		return nil
	}
	events, err := o.eventsAbout(ctx, run.Namespace, run.UID)
	if err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	o.toldGone = true
	for _, line := range goneText(run, pods, events, time.Now()) {
		fmt.Fprintln(o.Streams.ErrOut, line)
	}
	return nil
}

// find returns the run that stands for the JobRun. While that run is not known, it returns nil with --follow, and an
// error without.
func (o *logsOptions) find(ctx context.Context) (*v1alpha1.JobRun, error) {
	asked, err := o.runs.Get(ctx, o.name)
	if err != nil {
		return nil, err
	}
	run, err := o.standing(ctx, asked)
	switch {
	case errors.Is(err, jobrun.ErrNotFound):
		err = &hinted{fmt.Errorf("the run that stands for %s is gone, and its logs with it: %w", o.name, err), "JobRun " + stateLine(asked)}
	case err == nil && run == nil && !o.follow:
		err = &hinted{fmt.Errorf("the run that stands for %s is not decided yet", o.name), "-f waits for it."}
	case err == nil && run != asked && (run == nil || run.Name != o.followed):
		o.told.show(asked) // names its run
		if o.follow && run != nil {
			o.watch(ctx, run.Name)
		}
	}
	return run, err
}

// noLogs returns an error that tells why a run has no logs.
func noLogs(run *v1alpha1.JobRun) error {
	why := "none of its Pods has started; -f waits for one"
	switch {
	case !run.RunsAsJob():
		why = "it has no template, and its worker has its logs"
	case run.Outcome() != "":
		why = "it has ended, and its Pods are gone: a finished Job is kept for its template's ttlSecondsAfterFinished, or the operator's --job-ttl"
	}
	return &hinted{fmt.Errorf("run %s has no logs: %s", run.Name, why), "Now: " + stateLine(run)}
}

// print prints the rest of a Pod's log, and reports whether that was all.
func (o *logsOptions) print(ctx context.Context, pod *corev1.Pod) (complete bool, err error) {
	container := started(pod)
	if container == nil {
		return true, nil
	}
	id := fmt.Sprintf("%s/%d", pod.UID, container.RestartCount)
	r := o.read[id]
	if r == nil {
		r = &reading{}
		o.read[id] = r
		fmt.Fprintf(o.Streams.ErrOut, "==> pod/%s, generation %s\n", pod.Name, pod.Annotations[v1alpha1.AnnotationGeneration])
	}
	if r.complete {
		return true, nil
	}
	log, err := o.openLog(ctx, pod, &corev1.PodLogOptions{Container: container.Name, Follow: o.follow})
	if err == nil {
		err = r.copy(o.Streams.Out, log)
	}
	if apierrors.IsNotFound(err) && o.follow {
		o.told.say(fmt.Sprintf("Pod %s is gone, and the rest of its log with it", pod.Name))
		r.complete = true
		return true, nil
	}
	if !o.follow || err != nil && !passing(err) {
		return true, err
	}
	// A stream that was opened while the container ran may have broken off before its end.
	if r.complete = err == nil && container.State.Terminated != nil; !r.complete {
		o.changes.retry(ctx)
	}
	return r.complete, nil
}

// copy copies the rest of a log, and closes it.
func (r *reading) copy(to io.Writer, log io.ReadCloser) error {
	defer log.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(log, r.bytes)); err != nil {
		return err
	}
	n, err := io.Copy(to, log)
	r.bytes += n
	return err
}

// started returns the Pod's default container, else its first one; nil if it has not started.
func started(pod *corev1.Pod) *corev1.ContainerStatus {
	name := cmp.Or(pod.Annotations["kubectl.kubernetes.io/default-container"], pod.Spec.Containers[0].Name)
	for i, s := range pod.Status.ContainerStatuses {
		if s.Name == name && (s.State.Running != nil || s.State.Terminated != nil) {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}
