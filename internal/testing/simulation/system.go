// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/judge"
	"github.com/jobrun-dev/jobrun/internal/testing/model"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

const (
	namespace = "ns"
	// grace is shorter than the API server's timeout of a create. So runs arrive after their place was given away (P7).
	grace = 5 * time.Second
	// idempotencyGrace exceeds the API server's timeout of a create (P10).
	idempotencyGrace = 90 * time.Second
	// jobTTL is how long the Job of a run is kept that has ended.
	jobTTL = time.Minute
	// history is the number of receipts that a run keeps. It is small, so that the controller deletes receipts in
	// most simulations.
	history = 2
)

// Trigger is one trigger of a user, and what the user does after the answer.
type Trigger struct {
	Name        string
	Key         string
	Skip        bool
	Requeue     bool
	Idempotency string
	// Remembered is idempotencyTTLSeconds.
	Remembered int32
	// Releases sets idempotencyRelease to OnFailure.
	Releases bool
	// Brief sets ttlSecondsAfterFinished to 0, which deletes the run as soon as it has an outcome.
	Brief bool
	// Worker omits the template, so that a worker executes the run instead of a Job.
	Worker bool
	// Defined omits the template, because the definition has it.
	Defined bool
	// Once sets onJobLost to Fail.
	Once bool
	// Fleeting sets the template's ttlSecondsAfterFinished to 0.
	Fleeting bool
	// Deadline is activeDeadlineSeconds.
	Deadline int64
	// After is when the user sends the trigger.
	After time.Duration
	// Fate is what becomes of the Job.
	Fate Fate
	// Then is what the user does after the answer.
	Then Afterthought
	// More is the number of further triggers of the same kind. The user sends each one after the answer to the last.
	More int
	// Represents is spec.represents.count; 0 for a trigger that stands for itself. Its name must be its own.
	Represents int32
	// Again is when the user sends the trigger again under the same name if its answer was lost, after the first time. The user does
	// so while a minute is not over. 0 is never.
	Again time.Duration
}

// Batch is a batch of triggers from one user. Either all of them take effect, or none.
type Batch struct {
	Members []Trigger
	// Dies is the number of members that the user triggers before it dies.
	Dies int
}

// Afterthought is what a user does after the answer to a trigger.
type Afterthought int

// The afterthoughts.
const (
	Nothing Afterthought = iota
	Cancel
	Delete
	DeleteAndTriggerAgain
	// DeleteAndRestore deletes the JobRun, and creates it again as a restore of a backup does.
	DeleteAndRestore
)

// Edit is a change of the definition, and the time before it.
type Edit struct {
	After  time.Duration
	Change Change
}

// Change is a change of the definition.
type Change string

// The changes. The editor ends with Restore. No change withdraws the template: what is triggered then is for workers alone,
// and would be held back for ever once the template is back.
const (
	Suspend Change = "suspend"
	Unready Change = "unready"
	Remove  Change = "remove"
	Restore Change = "restore"
)

// Fate is what becomes of the Jobs of a run. The API server refuses a Job that is Refused, for ever. The Pod of a Job
// that Hangs never ends by itself. The Pod of a Job that Sticks never starts, because its image cannot be pulled.
type Fate string

// The fates.
const (
	Ends    Fate = ""
	Hangs   Fate = "hangs"
	Refused Fate = "refused"
	Sticks  Fate = "sticks"
)

// fateAnnotation is the annotation of a Job and of its Pods that holds the Fate.
const fateAnnotation = "fate"

// Scenario configures a simulation.
type Scenario struct {
	Triggers []Trigger
	Batches  []Batch
	// Workers has one entry for each worker.
	Workers     []Way
	Controllers int
	// Replicas is the number of replicas of the webhook.
	Replicas int
	// Mishaps bounds the mishaps: see model.World.
	Mishaps int
	// Cleans lets a cleaner delete finished Jobs: see model.World.
	Cleans bool
	// Locked says that nobody but the operator deletes what has ended: see judge.Options.
	Locked bool
	// Misversions answers each create of a RunKey with a version that is not the stored one: see misversions.
	Misversions bool
	// Defined means that the job has a definition, which has the template. Its editor changes it in this order.
	Defined []Edit
	Options model.Options
}

// system is a simulated installation.
type system struct {
	*model.Sim
	scenario Scenario
	gateway  *model.Gateway
	judge    *judge.Judge
	// deletes has the JobRuns that users delete, or try to.
	deletes map[types.UID]bool
}

// Simulate plays a scenario and returns the first violation of an invariant, or nil.
func Simulate(scenario Scenario) error {
	sim, err := model.NewSim(scenario.Options)
	if err != nil {
		return err
	}
	s := &system{Sim: sim, scenario: scenario, deletes: map[types.UID]bool{}}
	if s.gateway, err = sim.NewGateway(); err != nil {
		return err
	}
	s.judge = judge.New(judge.Options{
		Strict: scenario.Controllers == 1 && scenario.Options.Faults == 0 && scenario.Options.Crashes == 0 && scenario.Options.Pauses == 0,
		Fail:   sim.Fail,
		Grace:  grace,
		Locked: scenario.Locked,
		JobsGo: scenario.Options.Crashes == 0, // A controller that starts leaves them to the sweep, which the simulation lacks.
		Clock:  sim.Clock,
		Calm:   sim.Calm,
		Kept:   func(uid types.UID) bool { return scenario.Mishaps == 0 && !s.deletes[uid] }, // A mishap may be a deletion.
	})
	sim.Server.Observe(s.judge.Observe)
	s.gateway.Passed = s.judge.PassedFence
	for n := range scenario.Replicas {
		sim.AddMachine(fmt.Sprintf("webhook-%d", n+1), s.startWebhook)
	}
	for n := range scenario.Controllers {
		sim.AddMachine(fmt.Sprintf("controller-%d", n+1), s.startController)
	}
	for n, way := range scenario.Workers {
		sim.AddMachine(fmt.Sprintf("worker-%d", n+1), func(p *model.Process) (model.Source, error) {
			return s.startWorker(p, way)
		})
	}
	world := sim.AddWorld(scenario.Mishaps)
	world.KeepKeys, world.Cleans = true, scenario.Cleans
	world.Hangs = func(pod *corev1.Pod) bool { return pod.Annotations[fateAnnotation] == string(Hangs) }
	world.Sticks = func(pod *corev1.Pod) bool { return pod.Annotations[fateAnnotation] == string(Sticks) }
	if err := s.startUsers(); err != nil {
		return err
	}
	if err := sim.Run(); err != nil {
		return err
	}
	if err := s.judge.AtRest(); err != nil {
		return fmt.Errorf("%w\n%s", err, sim.Trace())
	}
	return nil
}

func (s *system) keys(p *model.Process) *keystore.Store {
	writer := p.Client
	if s.scenario.Misversions {
		writer = misversions{writer}
	}
	return keystore.New(keystore.Options{Cached: p.Client, Live: p.Live, Writer: writer, Clock: s.Clock})
}

func watch(p *model.Process, handler model.Handler, objects ...client.Object) error {
	p.Cache.Transform(cache.Slim)
	for _, object := range objects {
		if err := p.Cache.Watch(object, handler); err != nil {
			return err
		}
	}
	return cache.SetupFields(context.Background(), p.Cache)
}

func (s *system) startWebhook(p *model.Process) (model.Source, error) {
	options := webhookv1alpha1.Options{Keys: s.keys(p), Cached: p.Client, Live: p.Live, Gateway: model.User}
	if s.scenario.Defined != nil {
		options.Definitions = p.Client
	}
	handler, err := webhookv1alpha1.NewHandler(options)
	if err != nil {
		return nil, err
	}
	s.gateway.Serve(p, handler)
	s.gateway.ServeClaims(p, webhookv1alpha1.NewClaimHandler(options))
	s.gateway.ServeFence(p, webhookv1alpha1.NewFenceHandler(options))
	return nil, watch(p, nil, s.watched(&v1alpha1.JobRun{}, &v1alpha1.RunKey{}, &batchv1.Job{})...)
}

func (s *system) startController(p *model.Process) (model.Source, error) {
	w := s.newWitness(quota{p.Client})
	r := controller.NewReconciler(w, p.Live, silent{}, controller.Options{
		Keys: s.keys(p), ReceiptHistory: history, ReservationGrace: grace, IdempotencyGrace: idempotencyGrace, BatchTimeout: v1alpha1.BatchTimeoutSeconds * time.Second,
		JobTTL: jobTTL, SweepPeriod: s.scenario.longestTTL(), Clock: s.Clock, // There is no sweep: no TTL is longer than SweepPeriod.
	})
	c := model.NewController(p, 2, r.Reconcile)
	enqueue := func(old, current client.Object, initial bool) {
		before, wasJob := old.(*batchv1.Job)
		after, isJob := current.(*batchv1.Job)
		if wasJob || isJob {
			r.SeeJob(before, after)
		}
		if isJob {
			w.see(after)
		}
		p.Go("handle event", func(ctx context.Context) {
			var requests []controller.Request
			if initial {
				requests = r.RequestsForExisting(ctx, current)
			} else {
				requests = r.RequestsForChange(ctx, old, current)
			}
			for _, request := range requests {
				c.Queue.Add(request)
			}
		})
	}
	return c, watch(p, enqueue, s.watched(&v1alpha1.JobRun{}, &v1alpha1.RunKey{}, &batchv1.Job{}, &corev1.Pod{})...)
}

// watched returns the kinds that a process watches. Without a definition, nobody reads any.
func (s *system) watched(kinds ...client.Object) []client.Object {
	if s.scenario.Defined != nil {
		kinds = append(kinds, &v1alpha1.JobDefinition{})
	}
	return kinds
}

// quota is a client whose API server refuses some Jobs.
type quota struct{ client.Client }

func (q quota) Create(ctx context.Context, object client.Object, opts ...client.CreateOption) error {
	if _, isJob := object.(*batchv1.Job); isJob && object.GetAnnotations()[fateAnnotation] == string(Refused) {
		return apierrors.NewForbidden(batchv1.Resource("jobs"), object.GetName(), errors.New("exceeded quota"))
	}
	return q.Client.Create(ctx, object, opts...)
}

// misversions is a client whose API server answers the create of a RunKey with the version of the write before or after it. kine
// may do that if a RunKey of that name was deleted shortly before.
type misversions struct{ client.Client }

func (m misversions) Create(ctx context.Context, object client.Object, opts ...client.CreateOption) error {
	if err := m.Client.Create(ctx, object, opts...); err != nil {
		return err
	}
	stored, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return err
	}
	object.SetResourceVersion(strconv.FormatUint(stored^1, 10))
	return nil
}

// silent drops events: no invariant depends on them.
type silent struct{}

func (silent) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

func (s *system) startUsers() error {
	users, err := s.NewProcess("users")
	if err != nil {
		return err
	}
	if s.scenario.Defined != nil {
		users.Go("editor", func(ctx context.Context) { s.edit(ctx, users) })
	}
	for n, trigger := range s.scenario.Triggers {
		users.Go(fmt.Sprintf("user %d", n+1), func(ctx context.Context) { s.use(ctx, users, trigger) })
	}
	for n, batch := range s.scenario.Batches {
		users.Go(fmt.Sprintf("batch %d", n+1), func(ctx context.Context) { s.triggerAll(ctx, users, n, batch) })
	}
	return nil
}

// triggerAll triggers the members of a batch in order, the leader first. If a member is refused, triggerAll
// cancels the leader, which withdraws the batch.
func (s *system) triggerAll(ctx context.Context, users *model.Process, n int, b Batch) {
	var leader *v1alpha1.JobRun
	for i, t := range b.Members {
		if i >= b.Dies {
			return
		}
		run := newRun(t)
		run.Spec.Batch = &v1alpha1.BatchMember{ID: fmt.Sprintf("batch-%d", n+1), Size: int32(len(b.Members)), Leader: b.Members[0].Name}
		answer := s.gateway.Create(ctx, run, false)
		switch {
		case answer.Err != nil && leader != nil:
			s.cancel(ctx, users, leader)
			return
		case answer.Err != nil:
			return
		case leader == nil:
			leader = answer.Run
		}
		s.regret(ctx, users, t, answer.Run)
	}
}

func (s *system) use(ctx context.Context, users *model.Process, t Trigger) {
	if t.After > 0 {
		<-s.Clock.After(t.After)
	}
	name := t.Name
	for n := range t.More + 1 {
		if n > 0 {
			t.Name = fmt.Sprintf("%s-%d", name, n)
		}
		if answer := s.trigger(ctx, t); answer.Err == nil {
			s.regret(ctx, users, t, answer.Run)
		}
	}
}

// regret cancels or deletes the run, if the trigger's Then says so.
func (s *system) regret(ctx context.Context, users *model.Process, t Trigger, run *v1alpha1.JobRun) {
	switch t.Then {
	case Cancel:
		s.cancel(ctx, users, run)
	case Delete, DeleteAndTriggerAgain, DeleteAndRestore:
		uid := run.UID
		s.deletes[uid] = true
		if err := users.Client.Delete(ctx, run, client.Preconditions{UID: &uid}); err != nil {
			return
		}
		switch t.Then {
		case DeleteAndTriggerAgain:
			s.gateway.Create(ctx, newRun(t), false)
		case DeleteAndRestore:
			s.gateway.Create(ctx, restoredFrom(run), false)
		}
	}
}

// restoredFrom returns a JobRun as Velero restores it: without the status, and with a label.
func restoredFrom(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	labels := map[string]string{v1alpha1.LabelVeleroRestore: "nightly"}
	maps.Copy(labels, run.Labels)
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name, Labels: labels, Annotations: run.Annotations},
		Spec:       *run.Spec.DeepCopy(),
	}
}

// cancel cancels a run. After a conflict it tries again.
func (s *system) cancel(ctx context.Context, users *model.Process, run *v1alpha1.JobRun) {
	for range 5 {
		old := &v1alpha1.JobRun{}
		if err := users.Live.Get(ctx, client.ObjectKeyFromObject(run), old); err != nil || old.UID != run.UID {
			return
		}
		next := old.DeepCopy()
		next.Spec.Cancel = new(true)
		if answer := s.gateway.Update(ctx, next, old); answer.Err == nil {
			return
		}
	}
}

func newRun(t Trigger) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: t.Name},
		Spec: v1alpha1.JobRunSpec{
			JobName:        "sync",
			ConcurrencyKey: t.Key,
			IdempotencyKey: t.Idempotency,
			Input:          &apiextensionsv1.JSON{Raw: []byte(`{"from":"` + t.Name + `"}`)},
			Template:       template(t.Fate),

			ActiveDeadlineSeconds: t.Deadline,
		},
	}
	if t.Idempotency != "" {
		run.Spec.IdempotencyTTLSeconds = t.Remembered
		if t.Releases {
			run.Spec.IdempotencyRelease = v1alpha1.IdempotencyReleaseOnFailure
		}
	}
	if t.Brief {
		run.Spec.TTLSecondsAfterFinished = new(int32(0))
	}
	if t.Fleeting {
		run.Spec.Template.Spec.TTLSecondsAfterFinished = new(int32(0))
	}
	if t.Worker || t.Defined {
		run.Spec.Template = nil
	}
	if t.Requeue {
		run.Spec.OnLeaseExpired = v1alpha1.OnLeaseExpiredRequeue
	}
	if t.Once {
		run.Spec.OnJobLost = v1alpha1.OnJobLostFail
	}
	if t.Skip {
		run.Spec.Coalesce = v1alpha1.CoalesceSkip
	}
	if t.Represents > 0 {
		represent(run, t.Represents)
	}
	return run
}

func template(fate Fate) *batchv1.JobTemplateSpec {
	meta := metav1.ObjectMeta{}
	if fate != Ends {
		meta.Annotations = map[string]string{fateAnnotation: string(fate)}
	}
	return &batchv1.JobTemplateSpec{ObjectMeta: meta, Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{ObjectMeta: meta, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: "busybox"}},
		}},
	}}
}
