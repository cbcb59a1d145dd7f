// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IsSuspended reports whether no run of the job may start.
func (d *JobDefinition) IsSuspended() bool { return d.Spec.Suspend != nil && *d.Spec.Suspend }

// Executor returns what executes the runs that are triggered now.
func (d *JobDefinition) Executor() Executor {
	if d.Spec.Template != nil {
		return ExecutorJob
	}
	return ExecutorWorker
}

// NotReady returns the condition Ready if it says that this generation of the definition is not valid, or else nil. A
// definition that the operator has not looked at yet counts as valid, because the webhook has checked it.
func (d *JobDefinition) NotReady() *metav1.Condition {
	ready := meta.FindStatusCondition(d.Status.Conditions, ConditionDefinitionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse || ready.ObservedGeneration != d.Generation {
		return nil
	}
	return ready
}

// Reference returns the reference to this generation of the definition.
func (d *JobDefinition) Reference() *DefinitionReference {
	return &DefinitionReference{Name: d.Name, UID: d.UID, Generation: d.Generation}
}

// Receiver returns the receiver of a name, or nil if the definition has none.
func (d *JobDefinition) Receiver(name string) *JobReceiver {
	for i := range d.Spec.Receivers {
		if d.Spec.Receivers[i].Name == name {
			return &d.Spec.Receivers[i]
		}
	}
	return nil
}

// ReceiverUser returns the user name that a receiver has in AnnotationTriggeredBy.
func ReceiverUser(namespace, definition, receiver string) string {
	return "receiver:" + namespace + "/" + definition + "/" + receiver
}
