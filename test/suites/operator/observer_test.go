// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// observer watches all RunKeys and JobRuns, and checks invariant I1. At every instant, at most one run of a key reads
// Pending and at most one reads Leased. A run enters these phases only while its RunKey names it there.
type observer struct {
	mu sync.Mutex
	// rows has all rows of each RunKey, in order.
	rows map[types.NamespacedName][]row
	// active has the runs that read Pending or Leased.
	active map[seat][]types.UID
	// entries has the changes of phase to Pending or Leased, by namespace.
	entries map[string][]entry
	// doubles describes each time that two runs were in one seat, by namespace.
	doubles map[string][]string
	// histories has the phases that a run went through, with their generations.
	histories map[types.UID][]string
	phases    map[types.UID]v1alpha1.Phase
	// receipts has all receipts that were ever bound to a run, by the run.
	receipts map[types.UID]sets.Set[types.UID]
	// stories describes all changes, by namespace, for the report of a failed spec.
	stories map[string][]string
	// tolerated has the namespaces in which several controllers act at the same time, so that statuses may lag.
	tolerated map[string]bool
}

// row is the content of a RunKey from a version on. The spec is nil if the RunKey was deleted.
type row struct {
	version string
	spec    *v1alpha1.RunKeySpec
}

// seat is a phase that at most one run of a key may have.
type seat struct {
	key   types.NamespacedName
	phase v1alpha1.Phase
}

type entry struct {
	seat
	version string
	run     runkey.Identity
}

func startObserver() *observer {
	GinkgoHelper()
	o := &observer{
		rows:      map[types.NamespacedName][]row{},
		active:    map[seat][]types.UID{},
		entries:   map[string][]entry{},
		doubles:   map[string][]string{},
		histories: map[types.UID][]string{},
		phases:    map[types.UID]v1alpha1.Phase{},
		receipts:  map[types.UID]sets.Set[types.UID]{},
		stories:   map[string][]string{},
		tolerated: map[string]bool{},
	}
	follow(&v1alpha1.RunKeyList{}, o.sawKey)
	follow(&v1alpha1.JobRunList{}, o.sawRun)
	return o
}

// follow calls see with every change of the listed kind, in order and without gaps.
func follow[T client.Object](list client.ObjectList, see func(T, watch.EventType)) {
	GinkgoHelper()
	watcher := newClient()
	Expect(watcher.List(ctx, list)).To(Succeed())
	changes, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return watcher.Watch(ctx, list, &client.ListOptions{Raw: &options})
		},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(changes.Stop)
	go func() {
		for change := range changes.ResultChan() {
			if object, ok := change.Object.(T); ok && change.Type != watch.Bookmark {
				see(object, change.Type)
			}
		}
	}()
}

func (o *observer) sawKey(key *v1alpha1.RunKey, change watch.EventType) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := row{version: key.ResourceVersion}
	if change != watch.Deleted {
		next.spec = &key.Spec
	}
	o.tell(key, change, key.Spec.Pending, key.Spec.Leased, key.Spec.Owner)
	name := client.ObjectKeyFromObject(key)
	o.rows[name] = append(o.rows[name], next)
}

func (o *observer) sawRun(run *v1alpha1.JobRun, change watch.EventType) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell(run, change, run.Spec.Admission, run.Status.Phase, run.Status.RunRef, run.Status.Lease, run.Status.Error)
	if ref := run.Status.RunRef; ref != nil && run.Status.Phase == v1alpha1.PhaseCoalesced {
		o.receipts[ref.UID] = o.receiptsOf(ref.UID).Insert(run.UID)
	}
	before, now := o.phases[run.UID], run.Status.Phase
	if change == watch.Deleted {
		now = ""
	}
	if before == now {
		return
	}
	o.phases[run.UID] = now
	if change != watch.Deleted {
		o.histories[run.UID] = append(o.histories[run.UID], described(run))
	}
	if run.Spec.ConcurrencyKey == "" {
		return
	}
	key := types.NamespacedName{Namespace: run.Namespace, Name: runkey.Home(run)}
	o.leave(seat{key, before}, run)
	if now == v1alpha1.PhasePending || now == v1alpha1.PhaseLeased {
		o.enter(seat{key, now}, run)
	}
}

func (o *observer) receiptsOf(run types.UID) sets.Set[types.UID] {
	if found, ok := o.receipts[run]; ok {
		return found
	}
	return sets.New[types.UID]()
}

// tell adds to the story of a namespace.
func (o *observer) tell(object client.Object, change watch.EventType, facts ...any) {
	line := fmt.Sprintf("%s %s %T %s", object.GetResourceVersion(), change, object, object.GetName())
	for _, fact := range facts {
		if text, err := json.Marshal(fact); err == nil && string(text) != "null" && string(text) != `""` {
			line += " " + string(text)
		}
	}
	o.stories[object.GetNamespace()] = append(o.stories[object.GetNamespace()], line)
}

// story is all that happened in a namespace.
func (o *observer) story(namespace string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.stories[namespace], "\n")
}

func described(run *v1alpha1.JobRun) string {
	if run.Status.Lease == nil {
		return string(run.Status.Phase)
	}
	return fmt.Sprintf("%s %d", run.Status.Phase, run.Status.Lease.Generation)
}

func (o *observer) leave(s seat, run *v1alpha1.JobRun) {
	o.active[s] = slices.DeleteFunc(o.active[s], func(uid types.UID) bool { return uid == run.UID })
}

func (o *observer) enter(s seat, run *v1alpha1.JobRun) {
	o.active[s] = append(o.active[s], run.UID)
	if len(o.active[s]) > 1 {
		o.doubles[run.Namespace] = append(o.doubles[run.Namespace],
			fmt.Sprintf("at version %s: %d runs of %s read %s, the last is %s", run.ResourceVersion, len(o.active[s]), s.key, s.phase, run.Name))
	}
	o.entries[run.Namespace] = append(o.entries[run.Namespace], entry{s, run.ResourceVersion, runkey.IdentityOf(run)})
}

// expectNoViolation fails the spec if it broke the invariant. It retries, because the events of the two watches may
// arrive in any order.
func (o *observer) expectNoViolation(namespace string) {
	GinkgoHelper()
	Eventually(func() []string { return o.violations(namespace) }).WithTimeout(steady).Should(BeEmpty())
}

// tolerate allows two runs of a key to read the same phase in a namespace.
func (o *observer) tolerate(namespace string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tolerated[namespace] = true
}

func (o *observer) violations(namespace string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tolerated[namespace] {
		return nil
	}
	found := slices.Clone(o.doubles[namespace])
	for _, e := range o.entries[namespace] {
		if spec := o.rowAt(e.key, e.version); e.holder(spec) != e.run {
			found = append(found, fmt.Sprintf("at version %s: run %s becomes %s, its RunKey is %+v", e.version, e.run.RunName, e.phase, spec))
		}
	}
	return found
}

func (e entry) holder(spec *v1alpha1.RunKeySpec) runkey.Identity {
	if e.phase == v1alpha1.PhaseLeased {
		return runkey.Leased(spec)
	}
	return runkey.Pending(spec)
}

// rowAt returns the content of a RunKey at a version.
func (o *observer) rowAt(key types.NamespacedName, version string) *v1alpha1.RunKeySpec {
	var spec *v1alpha1.RunKeySpec
	for _, r := range o.rows[key] {
		if order, err := resourceversion.CompareResourceVersion(r.version, version); err != nil || order > 0 {
			break
		}
		spec = r.spec
	}
	return spec
}

// history returns the phases that a run went through so far, with their generations.
func history(run *v1alpha1.JobRun) func() []string {
	return func() []string {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.Clone(seen.histories[run.UID])
	}
}

// absorbedBy returns the receipts that were ever bound to a run, or that it counts.
func absorbedBy(run *v1alpha1.JobRun) sets.Set[types.UID] {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	found := seen.receiptsOf(run.UID).Clone()
	if c := run.Status.Coalesced; c != nil {
		for _, entry := range c.Recent {
			found.Insert(entry.UID)
		}
	}
	return found
}
