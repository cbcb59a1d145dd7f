// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Deliveries need more memory. What the user sets stays.
func TestMemoryOfTheGateway(t *testing.T) {
	for values, want := range map[string]string{
		"{}":                            "1Gi",
		"receivers: true":               "1536Mi",
		"{receivers: true, logs: true}": "1536Mi",
		"{resources: {limits: {memory: 1Gi}}, receivers: true}":  "1Gi",
		"{resources: {limits: {cpu: 2}}, receivers: true}":       "1536Mi",
		"{resources: {limits: {memory: null}}, receivers: true}": "0",
		"{resources: {limits: null}, receivers: true}":           "0",
		"{resources: null, receivers: true}":                     "0",
	} {
		group := valuesFrom(t, values)
		group["enabled"] = true
		limits := gatewayContainer(t, rendered(t, map[string]any{"gateway": group})).Resources.Limits
		if got := limits.Memory().String(); got != want {
			t.Errorf("%s: the limit is %s, want %s", values, got, want)
		}
	}
}

// With one replica, a budget of one would block each drain of its node.
func TestPodDisruptionBudgetOfOneReplica(t *testing.T) {
	for values, want := range map[string][2]bool{ // of the manager, and of the gateway
		"{}":                      {true, true},
		"manager: {replicas: 1}":  {false, true},
		"gateway: {replicas: 1}":  {true, false},
		"gateway: {replicas: 0}":  {true, false},
		"gateway: {replicas: 10}": {true, true},
		"manager: {podDisruptionBudget: {enabled: false}}": {false, true},
	} {
		parsed := valuesFrom(t, values)
		if err := unstructured.SetNestedField(parsed, true, "gateway", "enabled"); err != nil {
			t.Fatal(err)
		}
		objects := rendered(t, parsed)
		_, manager := objects["PodDisruptionBudget "+namespace+"/jobrun-controller-manager"]
		_, gateway := objects["PodDisruptionBudget "+namespace+"/jobrun-gateway"]
		if got := [2]bool{manager, gateway}; got != want {
			t.Errorf("%s: got budgets %v, want %v", values, got, want)
		}
	}
}

// A gateway without replicas is paused. Nothing needs it but its callers.
func TestPausedGateway(t *testing.T) {
	objects := rendered(t, valuesFrom(t, "gateway: {enabled: true, replicas: 0}"))
	gateway := as[appsv1.Deployment](t, objects["Deployment "+namespace+"/jobrun-gateway"])
	if replicas := gateway.Spec.Replicas; replicas == nil || *replicas != 0 {
		t.Errorf("the gateway has %v replicas", replicas)
	}
}

func valuesFrom(t *testing.T, text string) (values map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
