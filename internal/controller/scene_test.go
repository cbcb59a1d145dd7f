// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/health"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// now is the time of all decisions: 60 s after the creation of all objects.
var now = wrappers.At(60)

// scene is all that is stored about one key, or about one run without a key, and a controller whose cache is
// up to date. It runs the controller's own code. It checks each write against the schema and against I1 and
// I4.
type scene struct {
	bench
	t   *testing.T
	req Request

	// coming is true if the run that the key is reserved for may still be created.
	coming bool
	// expired is true if leases with a duration were not renewed in time, and granted claims were not stored
	// in time.
	expired bool
	// refuse is the error that answers the creation of a Job.
	refuse *decision.Refusal
	// change is applied to every observation.
	change func(*decision.Observation)
}

// newScene returns a scene with copies of these RunKeys, JobRuns and Jobs.
func newScene(t *testing.T, objects ...client.Object) *scene {
	t.Helper()
	c := &scene{t: t, bench: newBench(objects...)}
	c.req = homeOf(objects)
	c.store.Before = c.before
	return c
}

// homeOf returns the home of the first object that has one.
func homeOf(objects []client.Object) Request {
	for _, o := range objects {
		switch o := o.(type) {
		case *v1alpha1.RunKey:
			if o.Spec.Kind == v1alpha1.RunKeyConcurrency {
				return Request{Namespace: o.Namespace, RunKey: o.Name}
			}
		case *v1alpha1.JobRun:
			return homeRequest(o)
		}
	}
	return home
}

func (c *scene) isKeyed() bool { return c.req.RunKey != "" }

// stored returns all objects.
func (c *scene) stored() []client.Object {
	c.t.Helper()
	objects, err := c.store.Objects(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return objects
}

// runs returns the JobRuns, oldest first.
func (c *scene) runs() []*v1alpha1.JobRun {
	runs := all[*v1alpha1.JobRun](c.stored())
	slices.SortFunc(runs, v1alpha1.CompareAge)
	return runs
}

func (c *scene) jobs() []*batchv1.Job { return all[*batchv1.Job](c.stored()) }

// key returns the RunKey of the scene; nil while the key is free.
func (c *scene) key() *v1alpha1.RunKey {
	for _, key := range all[*v1alpha1.RunKey](c.stored()) {
		if key.Name == c.req.RunKey {
			return key
		}
	}
	return nil
}

func (c *scene) keySpec() *v1alpha1.RunKeySpec {
	o := decision.Observation{Key: c.key()}
	return o.KeySpec()
}

func all[T client.Object](objects []client.Object) []T {
	var found []T
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

func (c *scene) run(name string) *v1alpha1.JobRun {
	c.t.Helper()
	for _, run := range c.runs() {
		if run.Name == name {
			return run
		}
	}
	c.t.Fatalf("no run %s", name)
	return nil
}

// count returns how many runs are in a phase.
func (c *scene) count(phase v1alpha1.Phase) int {
	n := 0
	for _, run := range c.runs() {
		if run.Status.Phase == phase {
			n++
		}
	}
	return n
}

// restart replaces the controller with a new one that has observed nothing.
func (c *scene) restart() {
	c.Reconciler = NewReconciler(c.store, c.store, c.events, c.Options)
	c.drainEvents()
}

func (c *scene) drainEvents() {
	for len(c.bench.events.Events) > 0 {
		<-c.bench.events.Events
	}
}

// observe returns what the controller observes.
func (c *scene) observe() decision.Observation {
	c.t.Helper()
	c.ReservationGrace = 90 * time.Second
	if c.coming {
		c.ReservationGrace = 24 * time.Hour
	} else {
		c.bury()
	}
	o := c.look()
	if c.expired {
		c.clock.Step(time.Hour)
		o = c.look()
		for _, e := range o.Executions {
			e.UnclaimedFor = 0 // The hour is one of leases, not one without workers.
		}
	}
	if o.Recheck == lossPatience {
		c.clock.Step(lossPatience)
		o = c.look()
	}
	if c.change != nil {
		c.change(&o)
	}
	return o
}

func (c *scene) look() decision.Observation {
	c.t.Helper()
	o, err := c.observeHome(c.t.Context(), c.req)
	if err != nil {
		c.t.Fatal(err)
	}
	return o
}

// bury tells the controller that the run of the reservation was deleted, if it does not exist.
func (c *scene) bury() {
	id := runkey.Pending(c.keySpec())
	isStored := slices.ContainsFunc(c.runs(), func(run *v1alpha1.JobRun) bool { return runkey.IdentityOf(run) == id })
	if !isStored {
		c.sightings.noteDeleted(id.Token)
	}
}

// refusalOf returns the error of the API server for a refusal.
func refusalOf(refusal decision.Refusal) error {
	if !refusal.Final {
		return errors.New(refusal.Message)
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: refusal.Message,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: "spec"}}},
	}}
}

func (c *scene) snapshot() *decision.Snapshot { return decision.NewSnapshot(c.observe()) }

// before is called before each write.
func (c *scene) before(verb string, o client.Object) error {
	switch o := o.(type) {
	case *v1alpha1.JobRun:
		if verb == "status" {
			return c.checkStatus(o)
		}
	case *batchv1.Job:
		if verb == "create" {
			return c.checkJob(o)
		}
	}
	return nil
}

// checkStatus refuses what the schema refuses, and what kstatus would misread. It fails the test if a run enters a phase
// before its key names it.
func (c *scene) checkStatus(next *v1alpha1.JobRun) error {
	old := &v1alpha1.JobRun{}
	if err := c.store.Get(c.t.Context(), client.ObjectKeyFromObject(next), old); err != nil || old.ResourceVersion != next.ResourceVersion {
		return err // A conflict.
	}
	if err := errors.Join(validateStatus(old, next), health.Check(next)); err != nil {
		return err
	}
	if !c.isKeyed() || old.Status.Phase == next.Status.Phase {
		return nil
	}
	place := map[v1alpha1.Phase]runkey.Identity{
		v1alpha1.PhasePending: runkey.Pending(c.keySpec()), v1alpha1.PhaseLeased: runkey.Leased(c.keySpec()),
	}
	if id, ok := place[next.Status.Phase]; ok && id != runkey.IdentityOf(next) {
		return fmt.Errorf("I1: %s reads %s while the key says %s", next.Name, next.Status.Phase, decision.KeyText(c.keySpec()))
	}
	return nil
}

// checkJob refuses a Job that the key does not lease. It refuses every Job if the scene has a refusal.
func (c *scene) checkJob(job *batchv1.Job) error {
	if c.refuse != nil {
		return refusalOf(*c.refuse)
	}
	if !c.isKeyed() {
		return nil
	}
	key := c.keySpec()
	if runkey.Leased(key) != executor.IdentityOf(job) || key.Leased.Generation != executor.GenerationOf(job) {
		return fmt.Errorf("I4: a Job %s while the key says %s", job.Name, decision.KeyText(key))
	}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if v.Name == v1alpha1.EnvKeyVersion && v.Value != key.Leased.FromVersion {
			return fmt.Errorf("a Job with key version %q while the key says %s", v.Value, decision.KeyText(key))
		}
	}
	return nil
}

// rest decides and acts until nothing is left to do. It calls visit with every plan before it acts.
func (c *scene) rest(visit func(*scene, decision.Plan)) {
	c.t.Helper()
	var plan decision.Plan
	for range 64 {
		if plan = c.advance(visit); len(plan.Ops) == 0 {
			return
		}
	}
	c.t.Fatalf("no rest; still wants %s\n%s", plan, c.formatState())
}

// advance runs one reconcile. It returns the first plan, which has no operations if there was nothing to do.
func (c *scene) advance(visit func(*scene, decision.Plan)) decision.Plan {
	c.t.Helper()
	var first decision.Plan
	o := c.observe()
	for n := range maxDecisions {
		s := decision.NewSnapshot(o)
		plan := decision.Decide(s)
		if n == 0 {
			first = plan
		}
		if visit != nil && len(plan.Ops) > 0 {
			visit(c, plan)
		}
		next := c.perform(s, plan)
		if next == nil {
			break
		}
		o = *next
		if c.refuse != nil && !c.refuse.Final {
			c.refuse = nil // The next attempt succeeds.
			c.clock.Step(time.Hour)
		}
	}
	return first
}

// perform carries a plan out. A stale observation does not fail the test. An error that would stop the
// controller for good does.
func (c *scene) perform(s *decision.Snapshot, plan decision.Plan) *decision.Observation {
	c.t.Helper()
	next, err := c.Reconciler.perform(c.t.Context(), c.req, s, plan)
	c.drainEvents()
	if err != nil && !errors.Is(err, errStale) {
		c.t.Fatalf("%s: %v\n%s", plan, err, c.formatState())
	}
	return next
}

// branch stops the controller after some operations of a plan, calls then with a new controller, and restores
// the scene.
func (c *scene) branch(plan decision.Plan, operations int, then func()) {
	c.t.Helper()
	stored, refuse, reconciler := c.stored(), c.refuse, c.Reconciler
	c.restart()
	c.perform(c.snapshot(), decision.Plan{Step: plan.Step, Ops: plan.Ops[:operations]})
	c.restart()
	then()
	if err := c.store.Restore(context.WithoutCancel(c.t.Context()), stored); err != nil {
		c.t.Fatal(err)
	}
	c.refuse, c.Reconciler = refuse, reconciler
}
