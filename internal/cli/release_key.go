// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// releaseTries is how often release-key reads the key anew after another client has changed it.
const releaseTries = 5

type releaseKeyOptions struct {
	*plugin
	job string
	key string
}

func newReleaseKey(p *plugin) *cobra.Command {
	o := &releaseKeyOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "release-key JOB --idempotency-key KEY",
		Short: "Let the next delivery of an idempotency key execute",
		Long: `Release the idempotency key of a run that has ended, so that the next trigger with this
key executes. The run and its receipts keep their outcome. The key of a run that waits
or executes is never released.

It deletes the key's RunKey, which needs the right to delete runkeys: bind the
ClusterRole jobrun-key-releaser-role. To release keys of failed runs without a
command, trigger with --idempotency-release OnFailure.`,
		Example: `  # The run of delivery-7f3a failed: let a second delivery execute
  kubectl jobrun release-key send-invoice --idempotency-key delivery-7f3a`,
		Args:              arguments(one("JOB")),
		ValidArgsFunction: p.completeJobs,
		RunE:              runE(o),
	}
	cmd.Flags().StringVar(&o.key, "idempotency-key", "", "The idempotencyKey to release. Required.")
	return cmd
}

func (o *releaseKeyOptions) Complete(_ *cobra.Command, args []string) error {
	o.job = args[0]
	return nil
}

func (o *releaseKeyOptions) Validate() error {
	if o.key == "" {
		return usagef("which key? Name it with --idempotency-key; `%s keys %s --idempotency` lists those that are taken", display, o.job)
	}
	return nil
}

func (o *releaseKeyOptions) Run(ctx context.Context) error {
	for tries := 1; ; tries++ {
		end, err := o.release(ctx)
		switch {
		case apierrors.IsConflict(err) && tries < releaseTries: // Another client has changed the RunKey since the read.
		case err != nil:
			return unlessStopped(ctx, err)
		default:
			fmt.Fprintf(o.Streams.Out, "idempotency key %q of job %s released: run %s %s; the next delivery executes\n", o.key, o.job, end.run, end.how)
			return nil
		}
	}
}

// endedOwner is the run that owned a key that was released.
type endedOwner struct{ run, how string }

// release deletes the RunKey if its owner has ended. An end is final, and the preconditions keep the key of any later owner.
func (o *releaseKeyOptions) release(ctx context.Context) (endedOwner, error) {
	key := &v1alpha1.RunKey{}
	name := types.NamespacedName{Namespace: o.namespace, Name: v1alpha1.IdempotencyKeyName(o.job, o.key)}
	switch err := o.api.Get(ctx, name, key); {
	case apierrors.IsNotFound(err):
		return endedOwner{}, fmt.Errorf("idempotency key %q of job %s is not taken in namespace %s: a delivery executes", o.key, o.job, o.namespace)
	case err != nil:
		return endedOwner{}, err
	case !runkey.Matches(&key.Spec, v1alpha1.RunKeyIdempotency, o.job, o.key):
		return endedOwner{}, fmt.Errorf("RunKey %s belongs to job %q, key %q", name, key.Spec.JobName, key.Spec.Key)
	}
	end, err := o.endOfOwner(ctx, key)
	if err != nil {
		return endedOwner{}, err
	}
	return end, o.api.Delete(ctx, key, client.Preconditions{UID: &key.UID, ResourceVersion: &key.ResourceVersion})
}

// endOfOwner returns how the owner of a key ended. It returns an error if the owner has not ended.
func (o *releaseKeyOptions) endOfOwner(ctx context.Context, key *v1alpha1.RunKey) (endedOwner, error) {
	owner := runkey.Owner(&key.Spec)
	if end := runkey.Remembered(&key.Spec); end != nil {
		return endedOwner{owner.RunName, endings[end.Phase]}, nil
	}
	run, err := o.runs.Get(ctx, owner.RunName)
	switch {
	case errors.Is(err, jobrun.ErrNotFound) || (err == nil && runkey.IdentityOf(run) != owner):
		return endedOwner{}, fmt.Errorf("idempotency key %q is reserved for run %s, which does not exist: its create is under way or was refused, "+
			"or it was deleted; the key is free by itself within the operator's --idempotency-grace", o.key, owner.RunName)
	case err != nil:
		return endedOwner{}, err
	case !run.HasEnded():
		return endedOwner{}, &hinted{
			fmt.Errorf("run %s stands for idempotency key %q and has not ended: its key is not released", run.Name, o.key),
			fmt.Sprintf("`%s wait %s` waits for it, `%[1]s cancel %[2]s --wait` ends it.", display, run.Name),
		}
	default:
		return endedOwner{run.Name, endings[run.Status.Phase]}, nil
	}
}

// endings say how a run ended.
var endings = map[v1alpha1.Phase]string{
	v1alpha1.PhaseCompleted: "completed",
	v1alpha1.PhaseFailed:    "failed",
	v1alpha1.PhaseCancelled: "was cancelled",
}

// redeliveredHint adds to the outcome of an earlier delivery what the user can do to execute again.
func redeliveredHint(err error, result jobrun.TriggerResult) error {
	spec := result.JobRun.Spec
	if result.Disposition != v1alpha1.DispositionIdempotent || !ended(err) {
		return err
	}
	return &hinted{err, fmt.Sprintf("That run executed for an earlier delivery. To execute again, use another idempotency key, or release this one: "+
		"`%s release-key %s -n %s --idempotency-key %s`.", display, spec.JobName, result.JobRun.Namespace, shellQuoted(spec.IdempotencyKey))}
}

// shellQuoted returns a text as one word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
