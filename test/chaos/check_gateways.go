// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file accounts for each trigger that was sent to a gateway. The input of a trigger has the id of its request. A JobRun
// has the inputs of the triggers that it stands for, up to a number.

// gatewayRun is a JobRun that a gateway created, with the triggers that it stands for as far as they are known.
type gatewayRun struct {
	*life
	// described are the ids of the triggers whose inputs the JobRun has. The first one is that of spec.input.
	described []string
	// answered are the requests that were answered with the JobRun.
	answered []*request
	// known has the ids of both.
	known map[string]bool
}

// size returns the number of triggers that the JobRun says that it stands for.
func (g *gatewayRun) size() int64 { return g.first.Represented() }

// describesAll reports whether the JobRun has the inputs of all of its triggers.
func (g *gatewayRun) describesAll() bool { return int64(len(g.described)) == g.size() }

// certain is how many triggers a run must count for the JobRun.
func (g *gatewayRun) certain() int64 { return max(1, int64(len(g.answered))) }

// sharers identifies the triggers that may share a JobRun.
type sharers struct{ user, jobName, key string }

// gatewayCheck checks the answers of the gateways.
type gatewayCheck struct {
	*Report
	pulse interval
	// regretted has the names of the JobRuns that callers deleted, or may have.
	regretted map[string]bool
	// sent are the triggers that were sent to a gateway, by id.
	sent map[string]*request
	runs []*gatewayRun
	// byName and byID are the JobRuns of a name, and those that have the input of a trigger, in the order of their creation.
	byName, byID map[string][]*gatewayRun
}

// checkGateways checks the answers of the gateways. It returns each JobRun that was an answer as a request with its answer: when
// that was sent, all of its triggers had been sent, and its answer came before all of theirs.
func (r *Report) checkGateways(h *records, namespace string, writes []write, all map[types.UID]*life) []*request {
	c := &gatewayCheck{
		Report: r, pulse: h.pulse, regretted: h.regretted(namespace),
		sent: map[string]*request{}, byName: map[string][]*gatewayRun{}, byID: map[string][]*gatewayRun{},
	}
	for i := range h.requests {
		if asked := &h.requests[i]; asked.Gateway != "" && asked.creates() && asked.Namespace == namespace {
			c.sent[asked.ID] = asked
		}
	}
	c.find(all)
	for _, asked := range c.sent {
		c.checkAnswer(asked)
	}
	c.checkOnce()
	c.checkSizes()
	c.checkCounts(writes, all)
	return c.creates()
}

// find finds the JobRuns that the gateways created.
func (c *gatewayCheck) find(all map[types.UID]*life) {
	for _, l := range all {
		if described := c.describedBy(l.first); len(described) > 0 {
			c.runs = append(c.runs, &gatewayRun{life: l, described: described, known: map[string]bool{}})
		}
	}
	slices.SortFunc(c.runs, func(a, b *gatewayRun) int { return cmp.Compare(a.created, b.created) })
	for _, g := range c.runs {
		c.byName[g.first.Name] = append(c.byName[g.first.Name], g)
		for _, id := range g.described {
			g.known[id] = true
			c.byID[id] = append(c.byID[id], g)
		}
		if g.size() > 1 {
			c.Numbers["shared JobRuns"]++
			c.Numbers["triggers that shared one"] += int(g.size())
		}
	}
}

// describedBy returns the ids of the triggers whose inputs a JobRun has.
func (c *gatewayCheck) describedBy(run *v1alpha1.JobRun) []string {
	inputs := []*apiextensionsv1.JSON{run.Spec.Input}
	if represents := run.Spec.Represents; represents != nil {
		for i := range represents.Recent {
			inputs = append(inputs, represents.Recent[i].Input)
		}
	}
	var ids []string
	for _, input := range inputs {
		var own struct{ ID string }
		if input != nil && json.Unmarshal(input.Raw, &own) == nil && c.sent[own.ID] != nil {
			ids = append(ids, own.ID)
		}
	}
	return ids
}

// checkAnswer checks the answer to one trigger against what is stored.
func (c *gatewayCheck) checkAnswer(asked *request) {
	stored := c.byID[asked.ID]
	switch {
	case asked.Outcome == accepted:
		c.put(atGateways, 1)
		c.checkAcceptedAt(asked)
	case asked.Outcome != unknown && len(stored) > 0:
		c.violate(atGateways, "trigger %s was answered by %s with %q, but JobRun %s stands for it",
			asked.ID, asked.Gateway, asked.Error, stored[0].first.Name)
	case asked.Name != "" && len(stored) > 0 && stored[0].first.Name != asked.Name:
		c.violate(atGateways, "trigger %s was answered by %s with the name %s (%s), but JobRun %s stands for it",
			asked.ID, asked.Gateway, asked.Name, asked.Error, stored[0].first.Name)
	}
}

// checkAcceptedAt checks the answer to a trigger that a gateway accepted.
func (c *gatewayCheck) checkAcceptedAt(asked *request) {
	named := c.byName[asked.Name]
	if len(named) == 0 {
		c.violate(atGateways, "trigger %s was answered by %s with JobRun %s, which was never stored", asked.ID, asked.Gateway, asked.Name)
		return
	}
	g := named[0]
	g.answered, g.known[asked.ID] = append(g.answered, asked), true
	a := g.first.Spec.Admission
	switch {
	case g.created > c.pulse.before(asked.Answered):
		c.violate(atGateways, "trigger %s was answered by %s with JobRun %s before that was stored at %d", asked.ID, asked.Gateway, asked.Name, g.created)
	case !slices.Contains(g.described, asked.ID) && (g.describesAll() || len(c.byID[asked.ID]) > 0):
		c.violate(atGateways, "trigger %s was answered by %s with JobRun %s, which does not stand for it", asked.ID, asked.Gateway, asked.Name)
	case a == nil || !g.mayStandFor(asked) || asked.KeyVersion != a.KeyVersion || asked.Disposition != g.dispositionFor(asked.ID):
		c.violate(atGateways, "trigger %s was answered by %s with %s, run %s, keyVersion %q, but JobRun %s has %+v",
			asked.ID, asked.Gateway, asked.Disposition, asked.Run, asked.KeyVersion, asked.Name, a)
	case !g.mayEnd(asked.Phase):
		c.violate(atGateways, "trigger %s was answered by %s with phase %s, but JobRun %s ended %v", asked.ID, asked.Gateway, asked.Phase, asked.Name, g.ends)
	}
}

// dispositionFor returns the answer for one of the triggers: the first one may be the run, and the others are absorbed by it.
func (g *gatewayRun) dispositionFor(id string) v1alpha1.Disposition {
	d := g.first.Spec.Admission.Disposition
	if d == v1alpha1.DispositionCreated && id != g.described[0] {
		return v1alpha1.DispositionCoalesced
	}
	return d
}

// mayStandFor reports whether the run in an answer stood for the trigger. An answer with a phase came after a wait, in which the JobRun
// may have been promoted, or displaced.
func (g *gatewayRun) mayStandFor(asked *request) bool {
	return asked.Run == g.first.Spec.Admission.RunName || asked.Phase != "" && g.stood[asked.Run]
}

// mayEnd reports whether a caller may have seen the JobRun end in a phase. A JobRun that is deleted may have no outcome itself.
func (g *gatewayRun) mayEnd(phase v1alpha1.Phase) bool {
	end := map[v1alpha1.Phase]string{
		v1alpha1.PhaseCompleted: v1alpha1.ConditionComplete, v1alpha1.PhaseFailed: v1alpha1.ConditionFailed,
		v1alpha1.PhaseCancelled: v1alpha1.ConditionCancelled,
	}[phase]
	if end == "" || g.deleted && len(g.ends) == 0 {
		return true
	}
	return slices.Contains(g.ends, end)
}

// checkOnce checks that one JobRun stands for each trigger. A create whose answer was lost may be stored again if a person deletes
// what it stored before.
func (c *gatewayCheck) checkOnce() {
	for id, runs := range c.byID {
		for i, again := range runs[1:] {
			before := runs[i]
			if again.first.Name == before.first.Name && before.deleted && c.regretted[before.first.Name] {
				continue
			}
			c.violate(atGateways, "JobRun %s stands for trigger %s (%s), and so does JobRun %s",
				before.first.Name, id, c.sent[id].Outcome, again.first.Name)
		}
	}
}

// checkSizes checks how many triggers the JobRuns stand for: each answered one, and at most those without an answer besides.
func (c *gatewayCheck) checkSizes() {
	unexplained, lost := map[sharers]int64{}, map[sharers]int64{}
	for _, asked := range c.sent {
		if asked.Outcome == unknown && len(c.byID[asked.ID]) == 0 {
			lost[sharers{asked.User, asked.JobName, asked.ConcurrencyKey}]++
		}
	}
	for _, g := range c.runs {
		known := int64(len(g.known))
		if known > g.size() {
			c.violate(atGateways, "JobRun %s stands for %d triggers, but %d were answered with it", g.first.Name, g.size(), known)
		}
		unexplained[g.sharers()] += max(0, g.size()-known)
	}
	for of, n := range unexplained {
		if n > lost[of] {
			c.violate(atGateways, "JobRuns of key %q of %s stand for %d triggers that nobody sent, or that were refused",
				of.key, of.user, n-lost[of])
		}
	}
}

func (g *gatewayRun) sharers() sharers {
	return sharers{g.first.Annotations[v1alpha1.AnnotationTriggeredBy], g.first.Spec.JobName, g.first.Spec.ConcurrencyKey}
}

// checkCounts checks that each run has counted each answered trigger that it stands for once, and each trigger without an answer at
// most once.
func (c *gatewayCheck) checkCounts(writes []write, all map[types.UID]*life) {
	weights := map[types.UID]*gatewayRun{}
	for _, g := range c.runs {
		weights[g.first.UID] = g
	}
	weigh := func(uid types.UID) (least, most int64) {
		if g := weights[uid]; g != nil {
			return g.certain(), g.size()
		}
		return 1, 1
	}
	receipts := map[types.UID]map[types.UID]bool{}
	for uid, l := range all {
		if ref := l.last.Status.RunRef; l.last.Status.Phase == v1alpha1.PhaseCoalesced && ref != nil {
			add(receipts, ref.UID, uid)
		}
	}
	counted := countedReceipts(writes)
	for uid, l := range all {
		if !l.last.HasEnded() || len(receipts[uid]) == 0 && weights[uid] == nil {
			continue
		}
		least, most := weigh(uid)
		for receipt := range receipts[uid] {
			a, b := weigh(receipt)
			least, most = least+a, most+b
		}
		for receipt := range counted[uid] {
			if !receipts[uid][receipt] { // It was counted and then promoted, cancelled or deleted: the count stays too high.
				_, b := weigh(receipt)
				most += b
				c.Numbers["counted, then promoted"]++
			}
		}
		c.put(atGateways, 1)
		if got := countOf(l.last) + 1; got < least || got > most {
			c.violate(atGateways, "run %s stands for %d triggers by its count, but for %d to %d by their answers", l.last.Name, got, least, most)
		}
	}
}

func add(sets map[types.UID]map[types.UID]bool, of, member types.UID) {
	if sets[of] == nil {
		sets[of] = map[types.UID]bool{}
	}
	sets[of][member] = true
}

// countedReceipts returns the receipts that each run ever counted.
func countedReceipts(writes []write) map[types.UID]map[types.UID]bool {
	counted := map[types.UID]map[types.UID]bool{}
	for _, w := range writes {
		if run, ok := w.Object().(*v1alpha1.JobRun); ok && run.Status.Coalesced != nil {
			for i := range run.Status.Coalesced.Recent {
				add(counted, run.UID, run.Status.Coalesced.Recent[i].UID)
			}
		}
	}
	return counted
}

func countOf(run *v1alpha1.JobRun) int64 {
	if run.Status.Coalesced == nil {
		return 0
	}
	return run.Status.Coalesced.Count
}

// creates returns the create of each JobRun that was an answer.
func (c *gatewayCheck) creates() []*request {
	var found []*request
	for _, g := range c.runs {
		if len(g.answered) == 0 {
			continue
		}
		spec := &g.first.Spec
		asked := &request{
			ID: g.answered[0].ID, Verb: trigger, Name: g.first.Name, JobName: spec.JobName, ConcurrencyKey: spec.ConcurrencyKey,
			IdempotencyKey: spec.IdempotencyKey, Outcome: accepted, Admission: spec.Admission, Answered: math.MaxInt64,
		}
		for id := range g.known {
			asked.Sent = max(asked.Sent, c.sent[id].Sent)
		}
		for _, answered := range g.answered {
			asked.Answered = min(asked.Answered, answered.Answered)
		}
		if asked.Sent > asked.Answered {
			c.violate(atGateways, "JobRun %s was an answer at %s, and stands for a trigger that was sent at %s",
				g.first.Name, asked.Answered.Round(time.Millisecond), asked.Sent.Round(time.Millisecond))
			continue
		}
		found = append(found, asked)
	}
	return found
}

// regretted returns the names of the JobRuns that callers asked to delete.
func (h *records) regretted(namespace string) map[string]bool {
	names := map[string]bool{}
	for i := range h.requests {
		if asked := &h.requests[i]; asked.Verb == deleteRun && asked.Namespace == namespace {
			names[asked.Name] = true
		}
	}
	return names
}
