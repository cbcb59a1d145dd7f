// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const claimExample = `  # Claim the oldest run of the job report; exit code 5 if there is none
  run=$(kubectl jobrun claim --job report -o jsonpath='{.metadata.name} --generation={.status.lease.generation}')

  # Keep it, and say what came of it ($run is two words)
  kubectl jobrun renew $run
  kubectl jobrun complete $run --output '{"rows": 10}'

  # Wait for one for at most a minute; exit code 4 if none came
  kubectl jobrun claim --job report --wait --timeout 1m`

// claiming is the command `claim`.
type claiming struct {
	*plugin
	job           string
	identity      string
	leaseDuration time.Duration
	wait          bool
	limit         waiting
	output        *output
}

func newClaim(p *plugin) *cobra.Command {
	c := &claiming{plugin: p}
	cmd := &cobra.Command{
		Use:   "claim (--job JOB | NAME)",
		Short: "Claim a run without a template, to execute it in a script",
		Long: `Claim a run that has no template: the oldest of a job that can be claimed, or the one
named. From then on you hold its lease, under the generation that is printed: renew it in
time, stop working when that fails with exit code 6, and say in the end what came of it,
with complete, fail or release. A lease that is not renewed ends, and the run goes to
somebody else.

It is renewed by renew, or by a Lease (coordination.k8s.io) of the name of the holder
that somebody keeps renewing, which keeps all alive that this holder has.`,
		Example:               claimExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction:     p.completeRuns,
		RunE:                  func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.job, "job", "", "Job of which the oldest run is claimed.")
	flags.StringVar(&c.identity, "holder", "", "Who claims. Without it: the host, and ten random characters.")
	addLeaseDuration(flags, &c.leaseDuration)
	flags.BoolVar(&c.wait, "wait", false, "Wait until there is a run to claim.")
	c.limit.add(flags)
	c.output = newOutput(cmd, p.Streams.Out)
	p.completeFlagWithJobs(cmd)
	return cmd
}

// nothingToClaim is that no run can be claimed now.
type nothingToClaim struct {
	why string
	// forGood is that it is of no use to wait.
	forGood bool
}

func (e *nothingToClaim) Error() string { return "nothing to claim: " + e.why }

func (c *claiming) check(args []string) error {
	switch {
	case (c.job == "") == (len(args) == 0):
		return usagef("which run? Name a job with --job, or one run")
	case c.limit.timeout != 0 && !c.wait:
		return usagef("--timeout is for --wait")
	case len(c.identity) > validation.DNS1123SubdomainMaxLength:
		return usagef("--holder %.20s...: must have at most %d characters", c.identity, validation.DNS1123SubdomainMaxLength)
	}
	return errors.Join(checkLeaseDuration(c.leaseDuration), c.limit.check(), c.output.check())
}

func (c *claiming) run(ctx context.Context, args []string) error {
	if err := c.check(args); err != nil {
		return err
	}
	if c.identity == "" {
		c.identity = worker.NewIdentity()
	}
	name := ""
	if len(args) > 0 {
		var err error
		if name, err = parseName(args[0]); err != nil {
			return err
		}
	}
	cluster, err := c.connected()
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, c.limit.timeout)
	defer cancel()
	run, err := c.untilClaimed(ctx, cluster, name)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return c.show(run)
}

// untilClaimed claims a run, and waits for one if asked to.
func (c *claiming) untilClaimed(ctx context.Context, cluster *cluster, name string) (*v1alpha1.JobRun, error) {
	var changed *changes
	pause := holder.NewBackoff()
	for {
		run, err := c.claimOne(ctx, cluster, name)
		var nothing *nothingToClaim
		if !errors.As(err, &nothing) || nothing.forGood || !c.wait {
			return run, err
		}
		if changed == nil {
			changed = newChanges(cluster)
			changed.of(ctx, &v1alpha1.JobRunList{}, c.scope(cluster, name)...)
		}
		// A run may be refused for a moment without any change of its own.
		select {
		case <-ctx.Done():
			return nil, err
		case <-changed.may:
			// Not everybody who waits should claim the same run at once.
			holder.Pause(ctx, realClock, wait.Jitter(claimSpread, 1))
		case <-time.After(pause.Step()):
		}
	}
}

// claimSpread is how long a claim waits after a change, up to twice as long.
const claimSpread = 50 * time.Millisecond

func (c *claiming) scope(cluster *cluster, name string) []client.ListOption {
	if name != "" {
		return []client.ListOption{client.InNamespace(cluster.namespace), client.MatchingFields{"metadata.name": name}}
	}
	return []client.ListOption{
		client.InNamespace(cluster.namespace), client.MatchingFieldsSelector{Selector: holder.WithoutOutcome(c.job)},
	}
}

// claimOne claims the first run that it is not refused.
func (c *claiming) claimOne(ctx context.Context, cluster *cluster, name string) (*v1alpha1.JobRun, error) {
	runs, err := c.candidates(ctx, cluster, name)
	if err != nil {
		return nil, err
	}
	var refused error
	for _, run := range runs {
		claim := holder.ClaimOf(run, c.identity, holder.Duration(run, c.leaseDuration), time.Now())
		claimed, err := holder.Claim(ctx, cluster.api, realClock, claim)
		if err == nil {
			return claimed, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return nil, err
		}
		refused = err
	}
	if refused != nil {
		return nil, &nothingToClaim{why: refused.Error()}
	}
	return nil, &nothingToClaim{why: fmt.Sprintf("no run of job %s waits for a worker", c.job)}
}

// candidates are what can be claimed, the oldest first.
func (c *claiming) candidates(ctx context.Context, cluster *cluster, name string) ([]*v1alpha1.JobRun, error) {
	if name != "" {
		run, err := cluster.runs.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		return []*v1alpha1.JobRun{run}, whyNot(run)
	}
	var list v1alpha1.JobRunList
	if err := cluster.api.List(ctx, &list, c.scope(cluster, "")...); err != nil {
		return nil, err
	}
	return claimable(list.Items), nil
}

// claimable are the runs that wait and whose key nobody holds, the oldest first.
func claimable(runs []v1alpha1.JobRun) []*v1alpha1.JobRun {
	taken := map[string]bool{}
	for i := range runs {
		if runs[i].Status.Phase == v1alpha1.PhaseLeased {
			taken[runs[i].Spec.ConcurrencyKey] = true
		}
	}
	delete(taken, "") // runs without a key take nothing
	var found []*v1alpha1.JobRun
	for i := range runs {
		if run := &runs[i]; holder.Claimable(run) && !taken[run.Spec.ConcurrencyKey] {
			found = append(found, run)
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha1.JobRun) int {
		if v1alpha1.CompareAge(a, b) < 0 {
			return -1
		}
		return 1
	})
	return found
}

// whyNot says why a run cannot be claimed; nil if it can.
func whyNot(run *v1alpha1.JobRun) error {
	switch {
	case holder.Claimable(run):
		return nil
	case run.IsReceipt():
		return &nothingToClaim{"another run stands for " + stateLine(run), true}
	case run.RunsAsJob():
		return &nothingToClaim{fmt.Sprintf("run %s has a template: a Job executes it", run.Name), true}
	case run.EndRequested():
		return &nothingToClaim{fmt.Sprintf("run %s was cancelled", run.Name), true}
	default:
		return &nothingToClaim{"run " + stateLine(run), run.Outcome() != ""}
	}
}

// show prints what was claimed, and how it is kept.
func (c *claiming) show(run *v1alpha1.JobRun) error {
	l := run.Status.Lease
	fmt.Fprintf(c.Streams.ErrOut, "%s holds run %s for %ds from each renewal: `%s renew %s --generation %d`, or a renewed Lease of the name %s\n",
		l.HolderIdentity, run.Name, l.DurationSeconds, display, run.Name, l.Generation, l.HolderIdentity)
	if c.output.isForPeople() {
		fmt.Fprintf(c.Streams.Out, "%s claimed, generation %d\n", qualified(run.Name), l.Generation)
		return nil
	}
	return c.output.object(run, func() *metav1.Table { return jobRunTable(run, time.Now()) })
}
