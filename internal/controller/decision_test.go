package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var (
	makeRun            = wrappers.MakeJobRun
	makeKey            = wrappers.MakeRunKey
	makeIdempotencyKey = wrappers.MakeIdempotencyKey
	makeJob            = wrappers.MakeJob
)

// made starts the run of the key "k" that was answered Created.
func made(name string) *wrappers.JobRunWrapper { return makeRun(name).Key("k").Template().Created() }

// answered starts a receipt of the key "k" that was answered with a run which
// waited in that version of the key.
func answered(name, run, keyVersion string) *wrappers.JobRunWrapper {
	return makeRun(name).Key("k").Skip().Template().CoalescedBy(run, keyVersion)
}

// decision is a case of a table: what is stored, and the whole plan.
type decision struct {
	given []client.Object
	with  func(*scene)
	want  string
}

type decisions map[string]decision

func (table decisions) run(t *testing.T) {
	t.Helper()
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			c := newScene(tc.given...)
			if tc.with != nil {
				tc.with(c)
			}
			s := c.observe()
			before := c.clone()
			plan := decide(s)
			if diff := cmp.Diff(splitOps(oneSpace(tc.want)), splitOps(format(plan))); diff != "" {
				t.Errorf("plan (-want +got):\n%s\ngot: %s", diff, format(plan))
			}
			// What a decision sees is the cache's own.
			if diff := cmp.Diff(before.stored(), c.stored()); diff != "" {
				t.Errorf("the decision changed what it saw:\n%s", diff)
			}
		})
	}
}

// runOfJob is the run that a Job of the scene was made for.
func runOfJob(c *scene, name string) runkey.Identity {
	for _, job := range c.jobs {
		if job.Name == name {
			return executor.IdentityOf(job)
		}
	}
	panic("no Job " + name)
}

func identityOf(run *v1alpha1.JobRun) runkey.Identity { return runkey.IdentityOf(run) }

// uids keys a table of names by UID.
func uids(names map[string]bool) map[types.UID]bool {
	all := map[types.UID]bool{}
	for name, value := range names {
		all[wrappers.UIDOf(name)] = value
	}
	return all
}

// later is the time that many seconds after everything was created.
func later(seconds int) *metav1.Time {
	at := wrappers.At(seconds)
	return &at
}
