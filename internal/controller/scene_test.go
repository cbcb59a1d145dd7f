package controller

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// now is when everything is decided, a minute after it was created.
var now = wrappers.At(60)

// scene is all that is stored about one key, or about one run without a key. It
// is observed as by a controller whose cache is up to date, and it is changed by
// plans: each operation requires what the real one does.
type scene struct {
	key         *v1alpha1.RunKey
	idempotency map[string]*v1alpha1.RunKey
	keyed       bool
	runs        []*v1alpha1.JobRun
	jobs        []*batchv1.Job
	version     int
	events      []string

	// coming says that the run that the key is reserved for may still be created.
	coming bool
	// refuse is the answer to the creation of Jobs.
	refuse *Refusal
	// expired says that leases with a duration were not renewed, and that claims
	// which are not stored were not for long.
	expired bool
	// change is made to every observation.
	change func(*Snapshot)
}

// newScene holds copies of RunKeys, JobRuns and Jobs.
func newScene(objects ...client.Object) *scene {
	c := &scene{version: 100, idempotency: map[string]*v1alpha1.RunKey{}}
	for _, o := range objects {
		switch o := o.(type) {
		case *v1alpha1.RunKey:
			if o.Spec.Kind == v1alpha1.RunKeyIdempotency {
				c.idempotency[o.Name] = o.DeepCopy()
				continue
			}
			c.key, c.keyed = o.DeepCopy(), true
		case *v1alpha1.JobRun:
			c.keyed = c.keyed || o.Spec.ConcurrencyKey != ""
			c.runs = append(c.runs, o.DeepCopy())
		case *batchv1.Job:
			c.jobs = append(c.jobs, o.DeepCopy())
		default:
			panic(fmt.Sprintf("a scene has no %T", o))
		}
	}
	slices.SortFunc(c.runs, v1alpha1.CompareAge)
	return c
}

func (c *scene) clone() *scene {
	next := newScene(c.stored()...)
	next.keyed, next.version, next.events = c.keyed, c.version, slices.Clone(c.events)
	next.coming, next.refuse, next.expired, next.change = c.coming, c.refuse, c.expired, c.change
	return next
}

func (c *scene) keySpec() *v1alpha1.RunKeySpec {
	if c.key == nil {
		return nil
	}
	return &c.key.Spec
}

func (c *scene) run(name string) *v1alpha1.JobRun {
	for _, run := range c.runs {
		if run.Name == name {
			return run
		}
	}
	panic("no run " + name)
}

// count is how many runs are in a phase.
func (c *scene) count(phase v1alpha1.Phase) int {
	n := 0
	for _, run := range c.runs {
		if run.Status.Phase == phase {
			n++
		}
	}
	return n
}

// observe is what a controller sees.
func (c *scene) observe() *Snapshot {
	s := &Snapshot{
		Now: now, Keyed: c.keyed, Key: c.key,
		Others: map[runkey.Identity]*v1alpha1.JobRun{}, Gone: map[runkey.Identity]bool{},
		Owners: map[types.UID]runkey.Identity{}, Executions: map[types.UID]*Execution{}, waiting: map[string]bool{},
		Verdicts: map[types.UID]v1alpha1.BatchDecision{},
		Jobs:     slices.Clone(c.jobs),
	}
	for _, run := range c.runs {
		if !run.HasOutcome() {
			s.Runs = append(s.Runs, run)
		}
	}
	c.observeRoles(s)
	for _, run := range s.Runs {
		c.observeReferences(s, run)
		c.observeExecution(s, run)
		c.observeVerdict(s, run)
	}
	s.Receipts = slices.Clone(s.Runs)
	s.Marked = markedEntries(s)
	if c.change != nil {
		c.change(s)
	}
	return s
}

func (c *scene) observeRoles(s *Snapshot) {
	if id := runkey.Leased(c.keySpec()); id != (runkey.Identity{}) {
		c.lookFor(s, id)
	}
	id := runkey.Pending(c.keySpec())
	if id == (runkey.Identity{}) {
		return
	}
	if c.coming && !slices.ContainsFunc(c.runs, func(run *v1alpha1.JobRun) bool { return runkey.IdentityOf(run) == id }) {
		return
	}
	c.lookFor(s, id)
	s.Void = s.Gone[id]
}

func (c *scene) observeReferences(s *Snapshot, run *v1alpha1.JobRun) {
	switch {
	case run.IsReceipt():
		ref := run.Status.RunRef
		i := slices.IndexFunc(c.runs, func(r *v1alpha1.JobRun) bool { return r.UID == ref.UID })
		switch {
		case i < 0:
			s.Gone[runOf(run)] = true
		case !slices.Contains(s.Runs, c.runs[i]):
			s.Others[runOf(run)] = c.runs[i]
			if c.runs[i].IsReceipt() {
				c.observeReferences(s, c.runs[i])
			}
		}
	case run.Status.Phase == "" && run.WasAbsorbed():
		if id := absorberOf(run); !c.keyed || runkey.Pending(c.keySpec()) != id {
			c.lookFor(s, id)
			if absorber := s.Others[id]; absorber != nil && absorber.IsReceipt() {
				c.observeReferences(s, absorber)
			}
		}
	}
	if run.Status.Phase != "" || run.Spec.IdempotencyKey == "" {
		return
	}
	if key := c.idempotency[v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)]; key != nil {
		s.Owners[run.UID] = runkey.Owner(&key.Spec)
		c.lookFor(s, runkey.Owner(&key.Spec))
	}
}

func (c *scene) lookFor(s *Snapshot, id runkey.Identity) {
	for _, run := range c.runs {
		if runkey.IdentityOf(run) != id {
			continue
		}
		if !slices.Contains(s.Runs, run) {
			s.Others[id] = run
		}
		return
	}
	s.Gone[id] = true
}

func (c *scene) observeExecution(s *Snapshot, run *v1alpha1.JobRun) {
	e := &Execution{}
	s.Executions[run.UID] = e
	if run.Status.Phase != v1alpha1.PhaseLeased {
		e.Job = s.jobOf(run, s.leasedGeneration())
		if run.Spec.Template == nil && runkey.Leased(c.keySpec()) == runkey.IdentityOf(run) && !c.expired {
			e.Unstored = time.Minute
		}
		return
	}
	e.Job = s.jobOf(run, run.LeaseGeneration())
	e.JobGone = e.Job == nil && run.Status.JobRef != nil
	e.Expires = leaseDuration(run) > 0
	if e.Expires && !c.expired {
		e.Left = leaseDuration(run)
	}
}

// observeVerdict knows at once that a leader is gone for good.
func (c *scene) observeVerdict(s *Snapshot, run *v1alpha1.JobRun) {
	if !run.AwaitsBatch() || run.LeadsBatch() {
		return
	}
	i := slices.IndexFunc(c.runs, func(r *v1alpha1.JobRun) bool { return r.Name == run.Spec.Batch.Leader })
	switch {
	case i < 0:
		s.Verdicts[run.UID] = v1alpha1.BatchWithdrawn
	case c.runs[i].Status.Batch != nil:
		s.Verdicts[run.UID] = c.runs[i].Status.Batch.Decision
	}
}

// performance is a plan on its way, decided on what was observed then.
type performance struct {
	*scene
	seen    *Snapshot
	key     *v1alpha1.RunKey
	written map[types.UID]string
	job     *batchv1.Job
}

func (c *scene) perform(s *Snapshot) *performance {
	return &performance{scene: c, seen: s, key: s.Key, written: map[types.UID]string{}}
}

func (p *performance) do(op Op) error {
	switch op := op.(type) {
	case CheckKey:
		return p.requireKey(p.key)
	case CheckRun:
		return p.requireRun(op.Run)
	case SwapKey:
		return p.swapKey(op.Next)
	case WriteStatus:
		return p.writeStatus(op.Run, op.Status)
	case CreateJob:
		return p.createJob(op)
	case ConfirmLease:
		if runkey.Leased(p.scene.keySpec()) != op.Run || p.scene.key.Spec.Leased.Generation != op.Generation {
			if err := p.deleteJobs(func(job *batchv1.Job) bool { return job == p.job }); err != nil {
				return err
			}
			return errStale
		}
	case NoStrays:
		return p.deleteJobs(func(job *batchv1.Job) bool {
			return executor.ResultOf(job) == nil && (p.seen.Keyed || p.seen.isStray(job))
		})
	case Stopped:
		return p.deleteJobs(func(job *batchv1.Job) bool {
			return executor.ResultOf(job) == nil && executor.IdentityOf(job) == op.Run
		})
	case DeleteJob:
		_ = p.deleteJobs(func(job *batchv1.Job) bool { return job.UID == op.Job.UID })
	case DeleteRun:
		p.runs = slices.DeleteFunc(p.runs, func(run *v1alpha1.JobRun) bool { return run.UID == op.Run.UID })
	case NoPods: // Pods end with their Jobs here.
	case Emit:
		p.events = append(p.events, formatEvent(op.Event))
	case Count:
	default:
		return fmt.Errorf("unknown operation %T", op)
	}
	return nil
}

func (p *performance) requireKey(decidedOn *v1alpha1.RunKey) error {
	if versionOf(decidedOn) != versionOf(p.scene.key) {
		return fmt.Errorf("%w: RunKey", errStale)
	}
	return nil
}

func (p *performance) requireRun(run *v1alpha1.JobRun) error {
	version, ok := p.written[run.UID]
	if !ok {
		version = run.ResourceVersion
	}
	for _, stored := range p.runs {
		if stored.UID == run.UID && stored.ResourceVersion == version {
			return nil
		}
	}
	return fmt.Errorf("%w: JobRun %s", errStale, run.Name)
}

func (p *performance) swapKey(next *v1alpha1.RunKeySpec) error {
	if err := p.requireKey(p.key); err != nil {
		return err
	}
	if next == nil {
		p.scene.key = nil
	} else {
		stored := wrappers.MakeRunKey(next.Key).ResourceVersion(p.nextVersion()).Obj()
		stored.Spec = *next.DeepCopy()
		p.scene.key = stored
	}
	p.key = p.scene.key
	return nil
}

func (p *performance) writeStatus(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) error {
	if err := p.requireRun(run); err != nil {
		return err
	}
	i := slices.IndexFunc(p.runs, func(stored *v1alpha1.JobRun) bool { return stored.UID == run.UID })
	next := p.runs[i].DeepCopy()
	next.Status = *status.DeepCopy()
	if next.Status.Phase == v1alpha1.PhaseLeased && p.job != nil {
		next.Status.JobRef = &v1alpha1.ObjectReference{Name: p.job.Name, UID: p.job.UID}
	}
	if err := validateStatus(p.runs[i], next); err != nil {
		return err
	}
	if err := p.keyLeads(p.runs[i], next); err != nil {
		return err
	}
	next.ResourceVersion = p.nextVersion()
	p.written[run.UID] = next.ResourceVersion
	p.runs[i] = next
	return nil
}

// keyLeads says whether a run enters a phase before its key says so.
func (p *performance) keyLeads(old, next *v1alpha1.JobRun) error {
	if !p.keyed || old.Status.Phase == next.Status.Phase {
		return nil
	}
	role := map[v1alpha1.Phase]runkey.Identity{
		v1alpha1.PhasePending: runkey.Pending(p.keySpec()), v1alpha1.PhaseLeased: runkey.Leased(p.keySpec()),
	}
	if id, ok := role[next.Status.Phase]; ok && id != runkey.IdentityOf(next) {
		return fmt.Errorf("I1: %s reads %s while the key says %s", next.Name, next.Status.Phase, formatKey(p.keySpec()))
	}
	return nil
}

func (p *performance) createJob(op CreateJob) error {
	run, generation := op.Run, op.Generation
	if p.refuse != nil {
		return &refusedError{run.UID, *p.refuse}
	}
	if p.keyed && (runkey.Leased(p.keySpec()) != runkey.IdentityOf(run) || p.scene.key.Spec.Leased.Generation != generation) {
		return fmt.Errorf("I4: a Job %s while the key says %s", executor.JobName(run, generation), formatKey(p.keySpec()))
	}
	if p.keyed && op.KeyVersion != p.scene.key.Spec.Leased.FromVersion {
		return fmt.Errorf("a Job with key version %q while the key says %s", op.KeyVersion, formatKey(p.keySpec()))
	}
	job := executor.NewJob(op.Run, op.Generation, op.KeyVersion)
	job.UID = wrappers.UIDOf(job.Name)
	for _, stored := range p.jobs {
		if stored.Name == job.Name {
			p.job = stored
			return nil
		}
	}
	p.jobs = append(p.jobs, job)
	p.job = job
	return nil
}

// deleteJobs deletes Jobs and says to wait if there were any.
func (p *performance) deleteJobs(which func(*batchv1.Job) bool) error {
	before := len(p.jobs)
	p.jobs = slices.DeleteFunc(p.jobs, which)
	if len(p.jobs) < before {
		return errWaiting
	}
	return nil
}

func (p *performance) nextVersion() string {
	p.version++
	return strconv.Itoa(p.version)
}

// rest decides and acts until there is nothing left to do. visit sees every plan
// before it is carried out, and what it was decided from.
func (c *scene) rest(t *testing.T, visit func(*scene, Plan)) {
	t.Helper()
	var plan Plan
	for range 64 {
		s := c.observe()
		plan = decide(s)
		if len(plan.Ops) == 0 {
			return
		}
		if visit != nil {
			visit(c, plan)
		}
		c.carryOut(t, s, plan, len(plan.Ops))
	}
	t.Fatalf("no rest; still wants %s\n%s", format(plan), c.formatState())
}

// carryOut does the first operations of a plan, as far as they succeed. What a
// controller would observe again is no failure of the test, what would keep it
// from ever getting on is.
func (c *scene) carryOut(t *testing.T, s *Snapshot, plan Plan, operations int) {
	t.Helper()
	p := c.perform(s)
	for _, op := range plan.Ops[:operations] {
		err := p.do(op)
		var refused *refusedError
		switch {
		case err == nil:
		case errors.Is(err, errWaiting), errors.Is(err, errStale):
			return
		case errors.As(err, &refused):
			c.afterRefusal(t, refused)
			return
		default:
			t.Fatalf("%s in %s: %v\n%s", formatOp(op), format(plan), err, c.formatState())
		}
	}
}

// afterRefusal decides again, knowing that the Job was refused.
func (c *scene) afterRefusal(t *testing.T, refused *refusedError) {
	t.Helper()
	next := c.observe()
	next.Executions[refused.run] = &Execution{Refused: &refused.refusal}
	plan := decide(next)
	if !c.refuse.Final {
		c.refuse = nil // The next attempt succeeds.
	}
	c.carryOut(t, next, plan, len(plan.Ops))
}

// stored are all objects.
func (c *scene) stored() []client.Object {
	var objects []client.Object
	if c.key != nil {
		objects = append(objects, c.key)
	}
	for _, name := range slices.Sorted(maps.Keys(c.idempotency)) {
		objects = append(objects, c.idempotency[name])
	}
	for _, run := range c.runs {
		objects = append(objects, run)
	}
	for _, job := range c.jobs {
		objects = append(objects, job)
	}
	return objects
}
