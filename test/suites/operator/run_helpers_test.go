// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// get returns a function that reads a run.
func get(name string) func() (*v1alpha1.JobRun, error) {
	return func() (*v1alpha1.JobRun, error) {
		run := &v1alpha1.JobRun{}
		return run, k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, run)
	}
}

// wait waits until the run matches, and returns it.
func wait(run *v1alpha1.JobRun, wanted gomegatypes.GomegaMatcher) *v1alpha1.JobRun {
	GinkgoHelper()
	current := &v1alpha1.JobRun{}
	Eventually(func() (*v1alpha1.JobRun, error) {
		var err error
		current, err = get(run.Name)()
		if err == nil && current.UID != run.UID {
			err = fmt.Errorf("run %s is another one now", run.Name)
		}
		return current, err
	}).Should(wanted)
	return current
}

func inPhase(phase v1alpha1.Phase) gomegatypes.GomegaMatcher {
	return HaveField("Status.Phase", phase)
}

// haveCondition matches a run for which `kubectl wait --for=condition=kind` returns.
func haveCondition(kind string) gomegatypes.GomegaMatcher {
	return WithTransform(func(run *v1alpha1.JobRun) bool {
		return meta.IsStatusConditionTrue(run.Status.Conditions, kind)
	}, BeTrue())
}

// beBoundTo matches a receipt that is bound to the run.
func beBoundTo(run *v1alpha1.JobRun) gomegatypes.GomegaMatcher {
	return HaveField("Status.RunRef", HaveValue(Equal(v1alpha1.ObjectReference{Name: run.Name, UID: run.UID})))
}

func haveAbsorbed(count int) gomegatypes.GomegaMatcher {
	return HaveField("Status.Coalesced", HaveValue(HaveField("Count", BeEquivalentTo(count))))
}

// cancel cancels a run.
func cancel(run *v1alpha1.JobRun) {
	GinkgoHelper()
	Expect(k8s.Patch(ctx, run.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`)))).To(Succeed())
}

// remove deletes an object with background propagation, as kubectl does. It does not wait.
func remove(object client.Object) {
	GinkgoHelper()
	Expect(k8s.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
}

// runs returns the JobRuns of the namespace.
func runs() []v1alpha1.JobRun {
	GinkgoHelper()
	var found v1alpha1.JobRunList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return found.Items
}

// writeStatus changes the status as an external worker does.
func writeStatus(run *v1alpha1.JobRun, change func(*v1alpha1.JobRunStatus)) error {
	change(&run.Status)
	return k8s.Status().Update(ctx, run)
}
