// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"os"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/judge"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// receiptHistory is the default of the managers' --receipt-history: how many receipts of a run they keep.
const receiptHistory = 100

// crashShown is how many bytes of the log of a crash are shown.
const crashShown = 4000

// check checks the history of a namespace for violations of the promises. Punctual means that no fault allows statuses
// to lag. Then they must not, unless a busy machine kept a manager from renewing its Lease, so that another took over.
// Rested means that everything has come to rest.
func check(h *records, namespace string, punctual, rested bool) *Report {
	strict := punctual && h.handedOver == 0
	r := &Report{Promises: newPromises(), Numbers: map[string]int{}, Strict: strict}
	writes := h.in(namespace)
	all := lives(writes)
	r.count(h, writes, all)
	r.checkInvariants(h, writes, strict, rested)
	r.checkAnswers(h, namespace, writes, all)
	r.checkOutcomes(h, namespace, all, rested)
	rows, operations := r.readKeys(h, writes)
	r.checkKeys(h, append(h.aboutKeys(namespace), r.checkGateways(h, namespace, writes, all)...), rows, operations)
	r.checkJobs(h, writes, rows)
	r.checkExpiries(writes)
	r.checkLeases(h, writes)
	return r
}

// checkInvariants runs the judge, which the simulation uses too, over the writes.
func (r *Report) checkInvariants(h *records, writes []write, strict, rested bool) {
	j := judge.New(judge.Options{
		Strict: strict, Fail: r.judged, NotesStay: true,
		ByHand: func(uid types.UID) bool { return h.vandalised[uid] },
	})
	for i := range writes {
		j.Observe(&writes[i].Event)
	}
	r.put(otherwise, len(writes))
	if !rested {
		return
	}
	for _, violation := range split(j.AtRest()) {
		r.judged("%s", violation)
	}
}

// split returns the messages of joined errors.
func split(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var found []string
	for _, one := range joined.Unwrap() {
		found = append(found, split(one)...)
	}
	return found
}

// checkAnswers compares the answers of the API server to triggers with the stored JobRuns.
func (r *Report) checkAnswers(h *records, namespace string, writes []write, all map[types.UID]*life) {
	stored := map[string]*life{} // by the id of the request
	for _, l := range all {
		stored[l.first.Annotations[v1alpha1.AnnotationTrigger]] = l
	}
	named := namesInKeys(writes)
	for i := range h.requests {
		asked := &h.requests[i]
		if asked.Namespace != namespace || asked.Gateway != "" {
			continue
		}
		l := stored[asked.ID]
		switch {
		case asked.Verb == dryRun:
			r.put("I7", 1)
			if l != nil || named[asked.Name] {
				r.violate("I7", "dry run %s of %s stored a JobRun or reserved a key", asked.ID, asked.Name)
			}
		case !asked.creates():
		case asked.Outcome == accepted:
			r.put(answered, 1)
			r.checkAccepted(asked, l)
		case l != nil && asked.Outcome != unknown:
			r.put(answered, 1)
			r.violate(answered, "trigger %s of %s was answered with %s (%s), but JobRun %s was stored at %d",
				asked.ID, asked.Name, asked.Outcome, asked.Error, l.first.UID, l.created)
		}
	}
}

func (r *Report) checkAccepted(asked *request, l *life) {
	switch {
	case l == nil:
		r.violate(answered, "trigger %s of %s was accepted, but nothing was stored", asked.ID, asked.Name)
	case l.first.UID != asked.UID || asked.Admission == nil || *l.first.Spec.Admission != *asked.Admission:
		r.violate(answered, "trigger %s of %s was answered with %s %+v, but %s %+v was stored",
			asked.ID, asked.Name, asked.UID, asked.Admission, l.first.UID, l.first.Spec.Admission)
	}
}

// namesInKeys returns the names of all runs that RunKeys ever named.
func namesInKeys(writes []write) map[string]bool {
	named := map[string]bool{}
	for _, w := range writes {
		if key, ok := w.Object().(*v1alpha1.RunKey); ok {
			for _, id := range []runkey.Identity{runkey.Pending(&key.Spec), runkey.Line(&key.Spec), runkey.Leased(&key.Spec), runkey.Owner(&key.Spec)} {
				named[id.RunName] = true
			}
		}
	}
	return named
}

// checkOutcomes checks that every JobRun has one outcome, which never changes, unless a caller deleted it before. A
// receipt has the outcome of its run.
func (r *Report) checkOutcomes(h *records, namespace string, all map[types.UID]*life, rested bool) {
	regretted := h.regretted(namespace)
	for _, l := range all {
		r.put(oneOutcome, 1)
		name := l.last.Name
		switch {
		case len(l.ends) > 1:
			r.violate(oneOutcome, "JobRun %s has several outcomes: %s", name, strings.Join(l.ends, ", then "))
		case len(l.ends) == 1:
			r.checkShared(l, all)
		case l.deleted && !regretted[name] && !l.trimmed(all):
			r.violate(oneOutcome, "JobRun %s was deleted without an outcome, but no caller deleted it", name)
		case !l.deleted && rested:
			r.violate(oneOutcome, "JobRun %s has no outcome: %q", name, l.last.Status.Phase)
		}
	}
}

// trimmed reports whether the managers may have deleted a receipt because its run has more than receiptHistory.
func (l *life) trimmed(all map[types.UID]*life) bool {
	phase, run := l.last.Status.Phase, l.last.Status.RunRef
	if phase != v1alpha1.PhaseCoalesced && phase != v1alpha1.PhaseIdempotent || run == nil {
		return false
	}
	n := 0
	for _, other := range all {
		if ref := other.last.Status.RunRef; ref != nil && ref.UID == run.UID {
			n++
		}
	}
	return n > receiptHistory
}

// checkShared checks that a receipt has the outcome of its run. Receipts that were cancelled, or whose run was deleted,
// may differ.
func (r *Report) checkShared(receipt *life, all map[types.UID]*life) {
	phase, ref := receipt.last.Status.Phase, receipt.last.Status.RunRef
	if receipt.last.CancelRequested() {
		return
	}
	if phase != v1alpha1.PhaseCoalesced && phase != v1alpha1.PhaseIdempotent || ref == nil {
		return
	}
	run := all[ref.UID]
	if run != nil && !run.deleted && len(run.ends) == 1 && run.ends[0] != receipt.ends[0] {
		r.violate(oneOutcome, "receipt %s ended %s, but its run %s ended %s", receipt.last.Name, receipt.ends[0], run.last.Name, run.ends[0])
	}
}

// checkLeft checks that nothing is left after all JobRuns were deleted, and that deleted namespaces are empty.
func (r *Report) checkLeft(h *records, w *world, undeleted string) {
	r.put(nothingLeft, 1)
	if undeleted != "" {
		r.violate(nothingLeft, "%s", undeleted)
	}
	for n := range w.doomed {
		r.put(nothingLeft, 1)
		name := w.doomedName(n + 1)
		for _, object := range left(h.in(name)) {
			r.violate(nothingLeft, "%T %s is left in namespace %s, which was deleted", object, object.GetName(), name)
		}
	}
}

// crash matches what a process prints when it panics or has a data race. Panics in reconcilers, in webhooks and in handlers of
// the gateway are recovered, and only logged.
var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE).*$|^.*(Observed a panic|A handler panicked|\[recovered\]).*$`)

// checkProcesses searches the logs of all processes of managers and gateways for crashes.
func (r *Report) checkProcesses(processes []*controlplane.Process) error {
	for _, p := range processes {
		log, err := os.ReadFile(p.LogFile)
		if err != nil {
			return err
		}
		r.put(sound, 1)
		if at := crash.FindIndex(log); at != nil {
			r.violate(sound, "%s: %s", p.Name, log[at[0]:min(len(log), at[0]+crashShown)])
		}
	}
	return nil
}
