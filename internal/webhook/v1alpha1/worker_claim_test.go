// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// A status update that is not a valid claim is refused and changes no key.
func TestClaimBadInput(t *testing.T) {
	waits := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("a").Key("k").Created().Pending() }
	leased := func() *v1alpha1.JobRun {
		return wrappers.MakeJobRun("a").Key("k").Created().Leased(1, "").Holder("worker").Obj()
	}
	for name, tc := range map[string]struct {
		old  *v1alpha1.JobRun
		send func(run *v1alpha1.JobRun)
		want string
	}{
		"another phase":  {waits().Obj(), func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhasePending }, "status.phase"},
		"no lease":       {waits().Obj(), func(run *v1alpha1.JobRun) { run.Status.Lease = nil }, "status.lease"},
		"of a Job's run": {waits().Template().Obj(), func(*v1alpha1.JobRun) {}, "status.lease.holderIdentity"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, tc.old, wrappers.MakeRunKey("k").Pending("a").Obj())
			run := leased()
			tc.send(run)
			response := r.claim(t, run, tc.old)
			if response.Allowed || response.Result.Code != 422 || response.Result.Details.Causes[0].Field != tc.want {
				t.Errorf("allowed %t, %.300v; want %s named", response.Allowed, response.Result, tc.want)
			}
			if diff := cmp.Diff([]string(nil), r.store.Writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// A status with a field of the wrong type is refused before it takes the key.
func TestClaimThatCannotBeRead(t *testing.T) {
	waits := wrappers.MakeJobRun("a").Key("k").Created().Pending().Obj()
	r := newReplica(t, waits, wrappers.MakeRunKey("k").Pending("a").Obj())
	run := toJSON(t, "metadata: {name: a}\nstatus: {phase: Leased, startTime: now, lease: {generation: 1, holderIdentity: worker}}\n")
	response := r.claimRaw(t, run, waits)
	if response.Allowed || response.Result.Code != 422 || !strings.HasPrefix(response.Result.Details.Causes[0].Field, "status") {
		t.Errorf("allowed %t, %.300v", response.Allowed, response.Result)
	}
	if writes := r.store.Writes(); len(writes) > 0 {
		t.Errorf("left taken: %v", writes)
	}
}

// A definition that keeps its runs from starting refuses the claims of workers, and takes no key.
func TestClaimOfADefinedRun(t *testing.T) {
	defined := wrappers.MakeJobDefinition
	keyed := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("a").Key("k") }
	keyless := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("a") }
	for name, tc := range map[string]struct {
		definition *wrappers.JobDefinitionWrapper
		run        func() *wrappers.JobRunWrapper
		want       string
		writes     int
	}{
		"with a key":           {defined(), keyed, "", 1},
		"without a key":        {defined(), keyless, "", 0},
		"suspended":            {defined().Suspended(), keyed, "is suspended", 0},
		"suspended, keyless":   {defined().Suspended(), keyless, "is suspended", 0},
		"gone":                 {nil, keyless, "does not exist", 0},
		"not ready":            {defined().NotReady("no such time zone"), keyed, "is not ready: no such time zone", 0},
		"executed by Jobs now": {defined().Template("main"), keyed, "executor Job", 0},
	} {
		t.Run(name, func(t *testing.T) {
			waits := tc.run().Created().DefinedBy(v1alpha1.ExecutorWorker).Pending().Obj()
			objects := []client.Object{waits, wrappers.MakeRunKey("k").Pending("a").Obj()}
			if tc.definition != nil {
				objects = append(objects, tc.definition.Obj())
			}
			r := newReplica(t, objects...)
			leased := tc.run().Created().DefinedBy(v1alpha1.ExecutorWorker).Leased(1, "").Holder("worker").Obj()
			response := r.claim(t, leased, waits)
			if tc.want == "" && !response.Allowed || tc.want != "" && (response.Allowed || response.Result.Code != 409 || !strings.Contains(response.Result.Message, tc.want)) {
				t.Errorf("allowed %t, %.300v; want %q", response.Allowed, response.Result, tc.want)
			}
			if writes := r.store.Writes(); len(writes) != tc.writes {
				t.Errorf("writes: %v", writes)
			}
		})
	}
}

func (r replica) claim(t *testing.T, run, old *v1alpha1.JobRun) admission.Response {
	t.Helper()
	body, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	return r.claimRaw(t, body, old)
}

func (r replica) claimRaw(t *testing.T, run []byte, old *v1alpha1.JobRun) admission.Response {
	t.Helper()
	stored, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	keys := keystore.New(keystore.Options{Cached: r.store, Live: r.store, Writer: r.store, Clock: clock.RealClock{}})
	handler := webhook.NewClaimHandler(webhook.Options{Keys: keys, Cached: r.store, Live: r.store})
	return handler.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Update, Name: old.Name, Namespace: old.Namespace, SubResource: "status",
		Object: runtime.RawExtension{Raw: run}, OldObject: runtime.RawExtension{Raw: stored},
	}})
}
