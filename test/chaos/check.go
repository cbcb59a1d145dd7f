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
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// receiptHistory is how many receipts of a run the managers keep, unless they are told otherwise.
const receiptHistory = 100

// crashShown is how much of the log of a crash is shown.
const crashShown = 4000

// check holds a history of a namespace against the promises. Strict is whether nothing failed, so that nothing may
// lag; rested whether all had come to rest.
func check(h *records, namespace string, strict, rested bool) *Report {
	r := &Report{Promises: newPromises(), Numbers: map[string]int{}}
	writes := h.in(namespace)
	all := lives(writes)
	r.count(h, writes, all)
	if strict { // Otherwise a Job may be created late.
		r.put("I8", r.Numbers["leased to Jobs"])
	}
	r.checkInvariants(h, writes, strict, rested)
	r.checkAnswers(h, namespace, writes, all)
	r.checkOutcomes(h, namespace, all, rested)
	r.checkKeys(h, namespace, writes)
	r.checkLeases(h, writes)
	return r
}

// checkInvariants has the judge of the simulation judge what was stored.
func (r *Report) checkInvariants(h *records, writes []write, strict, rested bool) {
	j := judge.New(judge.Options{
		Strict: strict, Fail: r.judged,
		ByHand: func(uid types.UID) bool { return h.vandalised[uid] },
	})
	for i := range writes {
		j.Observe(&writes[i].Event)
	}
	if !rested {
		return
	}
	for _, violation := range split(j.AtRest()) {
		r.judged("%s", violation)
	}
}

// split takes joined errors apart.
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

// checkAnswers holds the answers of triggers against what was stored.
func (r *Report) checkAnswers(h *records, namespace string, writes []write, all map[types.UID]*life) {
	stored := map[string]*life{} // by the id of the request
	for _, l := range all {
		stored[l.first.Annotations[v1alpha1.AnnotationTrigger]] = l
	}
	named := namesInKeys(writes)
	for i := range h.requests {
		asked := &h.requests[i]
		if asked.Namespace != namespace {
			continue
		}
		l := stored[asked.ID]
		switch {
		case asked.Verb == dryRun:
			r.put("I7", 1)
			if l != nil || named[asked.Name] {
				r.violate("I7", "dry run %s of %s left something behind", asked.ID, asked.Name)
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
		r.violate(answered, "trigger %s of %s was answered with %s %+v, but stored is %s %+v",
			asked.ID, asked.Name, asked.UID, asked.Admission, l.first.UID, l.first.Spec.Admission)
	}
}

// namesInKeys are the names of all runs that RunKeys ever named.
func namesInKeys(writes []write) map[string]bool {
	named := map[string]bool{}
	for _, w := range writes {
		if key, ok := w.Object().(*v1alpha1.RunKey); ok {
			for _, id := range []runkey.Identity{runkey.Pending(&key.Spec), runkey.Leased(&key.Spec), runkey.Owner(&key.Spec)} {
				named[id.RunName] = true
			}
		}
	}
	return named
}

// checkOutcomes holds that whatever was stored has one outcome in the end, which never changes, and that a receipt
// has that of its run. What was deleted before has none.
func (r *Report) checkOutcomes(h *records, namespace string, all map[types.UID]*life, rested bool) {
	regretted := map[string]bool{}
	for i := range h.requests {
		if asked := &h.requests[i]; asked.Verb == deleteRun && asked.Namespace == namespace {
			regretted[asked.Name] = true
		}
	}
	for _, l := range all {
		r.put(oneOutcome, 1)
		name := l.last.Name
		switch {
		case len(l.ends) > 1:
			r.violate(oneOutcome, "JobRun %s has several outcomes: %s", name, strings.Join(l.ends, ", then "))
		case len(l.ends) == 1:
			r.checkShared(l, all)
		case l.deleted && !regretted[name] && !l.trimmed(all):
			r.violate(oneOutcome, "JobRun %s was deleted without outcome, and nobody asked for it", name)
		case !l.deleted && rested:
			r.violate(oneOutcome, "JobRun %s has no outcome: %q", name, l.last.Status.Phase)
		}
	}
}

// trimmed reports whether a receipt may have been deleted because its run has so many of them.
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

// checkShared holds that a receipt has the outcome of its run, if that is still there and if the receipt itself was
// not cancelled.
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

// checkLeft holds that nothing is left once everybody has deleted what was theirs, and that a deleted namespace is
// empty.
func (r *Report) checkLeft(h *records, w *world, undeleted string) {
	r.put(nothingLeft, 1)
	if undeleted != "" {
		r.violate(nothingLeft, "%s", undeleted)
	}
	for n := range w.doomed {
		r.put(nothingLeft, 1)
		name := w.doomedName(n + 1)
		for _, object := range left(h.in(name)) {
			r.violate(nothingLeft, "%T %s in namespace %s, which is gone", object, object.GetName(), name)
		}
	}
}

// crash is what a manager prints that does what no manager may do.
// A panic in a reconciler or a webhook is recovered, and logged.
var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE).*$|^.*(Observed a panic|\[recovered\]).*$`)

// checkManagers looks into the logs of all managers that there were.
func (r *Report) checkManagers(managers []*operator.Manager) error {
	for _, m := range managers {
		log, err := os.ReadFile(m.LogFile)
		if err != nil {
			return err
		}
		r.put(sound, 1)
		if at := crash.FindIndex(log); at != nil {
			r.violate(sound, "%s: %s", m.Name, log[at[0]:min(len(log), at[0]+crashShown)])
		}
	}
	return nil
}
