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
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const claimExample = `  # Claim the oldest run of the job report; exit code 5 if there is none
  run=$(kubectl jobrun claim --job report -o jsonpath='{.metadata.name} --generation={.status.lease.generation}')

  # Keep its lease, and complete it ($run is two words)
  kubectl jobrun renew $run
  kubectl jobrun complete $run --output '{"rows": 10}'

  # Wait at most a minute for a run; exit code 4 if none came
  kubectl jobrun claim --job report --wait --timeout 1m`

type claimOptions struct {
	*plugin
	timeLimited
	job           string
	identity      string
	leaseDuration time.Duration
	wait          bool
	output        output

	// name is the run to claim. If it is empty, the command claims the job's oldest claimable run.
	name string
}

func newClaimOptions(p *plugin) *claimOptions { return &claimOptions{plugin: p} }

func newClaim(p *plugin) *cobra.Command {
	o := newClaimOptions(p)
	cmd := &cobra.Command{
		Use:   "claim (--job JOB | NAME)",
		Short: "Claim a run without a template, to execute it in a script",
		Long: `Claim a run that has no template: the oldest claimable run of a job, or the run NAME.
You then hold its lease, under the generation that is printed. Renew the lease in time.
When that fails with exit code 6, stop working on the run. At the end, use complete, fail
or release. A lease that is not renewed ends, and another worker gets the run.

To renew the lease, use renew, or renew a Lease (coordination.k8s.io) that has the
holder's name. The Lease keeps all leases of this holder alive.`,
		Example:               claimExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction:     p.completeRuns,
		RunE:                  runE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.job, "job", "", "Job whose oldest claimable run is claimed.")
	flags.StringVar(&o.identity, "holder", "", "Holder of the lease. Default: the host's name and ten random characters.")
	addLeaseDuration(flags, &o.leaseDuration)
	flags.BoolVar(&o.wait, "wait", false, "Wait until a run can be claimed.")
	o.timeLimited.addTo(flags)
	o.output.addTo(cmd, p.Streams.Out)
	p.completeFlagWithJobs(cmd)
	return cmd
}

func (o *claimOptions) Complete(_ *cobra.Command, args []string) (err error) {
	if o.identity == "" {
		o.identity = worker.NewIdentity()
	}
	if len(args) > 0 {
		o.name, err = parseName(args[0])
	}
	return err
}

func (o *claimOptions) Validate() error {
	switch {
	case (o.job == "") == (o.name == ""):
		return usagef("which run? Name a job with --job, or one run")
	case o.timeout != 0 && !o.wait:
		return usagef("--timeout is for --wait")
	case len(o.identity) > validation.DNS1123SubdomainMaxLength:
		return usagef("--holder %.20s...: must have at most %d characters", o.identity, validation.DNS1123SubdomainMaxLength)
	}
	return errors.Join(checkLeaseDuration(o.leaseDuration), o.timeLimited.check(), o.output.check())
}

// nothingToClaim means that no run can be claimed now.
type nothingToClaim struct {
	why string
	// forGood is true if the run will never be claimable, so waiting does not help.
	forGood bool
}

func (e *nothingToClaim) Error() string { return "nothing to claim: " + e.why }

func (o *claimOptions) Run(ctx context.Context) error {
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	run, err := o.untilClaimed(ctx)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return o.show(run)
}

// untilClaimed claims a run and, with --wait, waits for one.
func (o *claimOptions) untilClaimed(ctx context.Context) (*v1alpha1.JobRun, error) {
	var changed *changes
	pause := holder.NewBackoff()
	for {
		run, err := o.claimOne(ctx)
		var nothing *nothingToClaim
		if !errors.As(err, &nothing) || nothing.forGood || !o.wait {
			return run, err
		}
		if changed == nil {
			changed = newChanges(o.api)
			changed.of(ctx, &v1alpha1.JobRunList{}, o.scope()...)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-changed.may:
			// Spread the claims of all callers that wait for the same run.
			holder.Pause(ctx, realClock, wait.Jitter(claimSpread, 1))
		case <-time.After(pause.Step()): // the key of a refused run can become free without a change of that run
		}
	}
}

// claimSpread is the shortest pause between a change and a claim. The longest is twice as long.
const claimSpread = 50 * time.Millisecond

// scope selects the run, or the runs of the job without an outcome.
func (o *claimOptions) scope() []client.ListOption {
	if o.name != "" {
		return []client.ListOption{client.InNamespace(o.namespace), client.MatchingFields{"metadata.name": o.name}}
	}
	return []client.ListOption{
		client.InNamespace(o.namespace), client.MatchingFieldsSelector{Selector: holder.WithoutOutcome(o.job)},
	}
}

// claimOne tries the candidates until a claim is granted.
func (o *claimOptions) claimOne(ctx context.Context) (*v1alpha1.JobRun, error) {
	runs, err := o.candidates(ctx)
	if err != nil {
		return nil, err
	}
	why := fmt.Sprintf("no run of job %s waits for a worker", o.job)
	for _, run := range runs {
		claim := holder.ClaimOf(run, o.identity, holder.Duration(run, o.leaseDuration), time.Now())
		claimed, err := holder.Claim(ctx, o.api, realClock, claim)
		if err == nil {
			return claimed, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return nil, err
		}
		why = err.Error()
	}
	return nil, &nothingToClaim{why: why}
}

// candidates returns the claimable runs, the oldest first.
func (o *claimOptions) candidates(ctx context.Context) ([]*v1alpha1.JobRun, error) {
	if o.name != "" {
		run, err := o.runs.Get(ctx, o.name)
		if err != nil {
			return nil, err
		}
		return []*v1alpha1.JobRun{run}, whyNot(run)
	}
	var list v1alpha1.JobRunList
	if err := o.api.List(ctx, &list, o.scope()...); err != nil {
		return nil, err
	}
	return claimable(list.Items), nil
}

// claimable returns the claimable runs whose key is not leased, the oldest first.
func claimable(runs []v1alpha1.JobRun) []*v1alpha1.JobRun {
	taken := map[string]bool{}
	for i := range runs {
		if runs[i].Status.Phase == v1alpha1.PhaseLeased {
			taken[runs[i].Spec.ConcurrencyKey] = true
		}
	}
	delete(taken, "") // runs without a key contend with no run
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

// whyNot returns an error that tells why a run cannot be claimed, or nil.
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

// show prints the claimed run, and how to keep its lease.
func (o *claimOptions) show(run *v1alpha1.JobRun) error {
	l := run.Status.Lease
	fmt.Fprintf(o.Streams.ErrOut, "%s holds run %s for %ds from each renewal: `%s renew %s --generation %d`, or a renewed Lease of the name %s\n",
		l.HolderIdentity, run.Name, l.DurationSeconds, display, run.Name, l.Generation, l.HolderIdentity)
	if o.output.isForPeople() {
		fmt.Fprintf(o.Streams.Out, "%s claimed, generation %d\n", qualified(run.Name), l.Generation)
		return nil
	}
	return o.output.run(run)
}
