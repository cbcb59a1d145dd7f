// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// TestDifferential compares the model with a real API server.
func TestDifferential(t *testing.T) {
	real := startServer(t)
	t.Run("operations", func(t *testing.T) { compareOperations(t, real) })
	t.Run("world", func(t *testing.T) { compareWorlds(t, real) })
}

// compareOperations drives the same random sequences of operations against both. After each operation it
// compares the answers: success or error, the error's code, reason, message and causes, and the object.
// After each sequence it compares all stored objects. Differences in uids, resourceVersions and times do
// not count.
func compareOperations(t *testing.T, real client.Client) {
	sequences := 0
	rapid.Check(t, func(rt *rapid.T) {
		sequences++
		namespace := fmt.Sprintf("differential-%d", sequences)
		d := &differential{T: rt, namespace: namespace, sides: []*side{
			{name: "model", client: newTestServer(t).Client(), slots: map[string]client.Object{}},
			{name: "API server", client: real, slots: map[string]client.Object{}},
		}}
		if err := real.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			rt.Fatal(err)
		}
		focus := rapid.SampledFrom(kindNames).Draw(rt, "focus")
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			d.step(focus)
		}
		d.compareState()
	})
}

// startServer starts a real API server with the CustomResourceDefinitions.
func startServer(t *testing.T) client.Client {
	t.Helper()
	config := startEnvironment(t, testEnvironment(t))
	config.QPS = -1
	real, err := client.New(config, client.Options{Scheme: Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return real
}

func testEnvironment(t *testing.T) *envtest.Environment {
	t.Helper()
	assets, err := checkout.Assets()
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(assets, binary)); err != nil {
			t.Fatalf("no %s in %s: run `make k8s`, or set KUBEBUILDER_ASSETS", binary, assets)
		}
	}
	return &envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{checkout.Path("config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
}

func startEnvironment(t *testing.T, environment *envtest.Environment) *rest.Config {
	t.Helper()
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return config
}

func newTestServer(t testing.TB) *Server {
	t.Helper()
	server, err := NewServer()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// side is one of the two servers.
type side struct {
	name   string
	client client.Client
	slots  map[string]client.Object // objects as they were read or written, for later operations
	uids   []types.UID              // in the order of creation
}

// differential does each operation to two sides.
type differential struct {
	*rapid.T
	namespace string
	sides     []*side
}

// operation does something to a side and returns the object to compare.
type operation func(*side) (client.Object, error)

var kindNames = []string{"run", "key", "job", "pod", "lease"}

// step does a random operation, most of the time to an object of the kind focus.
func (d *differential) step(focus string) {
	kind := focus
	if d.pick("digress", 4) == 0 {
		kind = rapid.SampledFrom(kindNames).Draw(d.T, "kind")
	}
	slot := kind + rapid.SampledFrom([]string{"1", "2"}).Draw(d.T, "slot")
	verb := rapid.SampledFrom([]string{"create", "read", "update", "update", "status", "status", "status", "delete", "list"}).Draw(d.T, "verb")
	if verb == "status" && (kind == "key" || kind == "lease") {
		verb = "update" // they have no status
	}
	if d.sides[0].slots[slot] == nil && verb != "list" && verb != "read" {
		verb = "create"
	}
	var do operation
	switch verb {
	case "create":
		do = d.create(kind, slot)
	case "read":
		do = d.read(kind, slot)
	case "update":
		do = d.update(slot, d.mutation(kind), func(c client.Client, obj client.Object) error { return c.Update(d.Context(), obj) })
	case "status":
		do = d.update(slot, d.statusMutation(kind), func(c client.Client, obj client.Object) error { return c.Status().Update(d.Context(), obj) })
	case "delete":
		do = d.delete(slot)
	case "list":
		d.list(kind)
		return
	}
	d.both(verb+" "+slot, do)
}

// both does an operation to each side and compares the answers.
func (d *differential) both(what string, do operation) {
	var answers []string
	for _, side := range d.sides {
		obj, err := do(side)
		answers = append(answers, side.describeError(err)+side.describe(obj))
	}
	if diff := cmp.Diff(answers[1], answers[0]); diff != "" {
		d.Fatalf("%s: the answers differ (- API server, + model):\n%s", what, diff)
	}
}

func (d *differential) name() string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(d.T, "name")
}

func (d *differential) create(kind, slot string) operation {
	template := d.newObject(kind)
	var opts []client.CreateOption
	if kind == "run" && rapid.IntRange(0, 4).Draw(d.T, "dry run") == 4 {
		opts = append(opts, client.DryRunAll)
	}
	return func(s *side) (client.Object, error) {
		obj := template.DeepCopyObject().(client.Object)
		if owner := s.slots["job1"]; kind == "pod" && owner != nil {
			obj.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("Job"))})
		}
		err := s.client.Create(d.Context(), obj, opts...)
		if err == nil {
			s.slots[slot] = obj.DeepCopyObject().(client.Object)
			s.uids = append(s.uids, obj.GetUID())
		}
		return obj, err
	}
}

func (d *differential) read(kind, slot string) operation {
	name := d.name()
	return func(s *side) (client.Object, error) {
		obj := emptyObject(kind)
		err := s.client.Get(d.Context(), client.ObjectKey{Namespace: d.namespace, Name: name}, obj)
		if err == nil {
			s.slots[slot] = obj.DeepCopyObject().(client.Object)
		}
		return obj, err
	}
}

// update changes and writes the object of a slot, which may be stale.
func (d *differential) update(slot string, mutate func(client.Object), write func(client.Client, client.Object) error) operation {
	version := rapid.SampledFrom([]string{"same", "same", "same", "same", "none", "old"}).Draw(d.T, "resourceVersion")
	keep := rapid.IntRange(0, 3).Draw(d.T, "keep the slot") > 0
	return func(s *side) (client.Object, error) {
		obj := s.slots[slot].DeepCopyObject().(client.Object)
		before := obj.GetResourceVersion()
		switch version {
		case "none":
			obj.SetResourceVersion("")
		case "old":
			obj.SetResourceVersion("1")
		}
		mutate(obj)
		err := write(s.client, obj)
		if err != nil {
			return nil, err
		}
		if keep {
			s.slots[slot] = obj.DeepCopyObject().(client.Object)
		}
		if obj.GetResourceVersion() == before {
			return obj, errors.New("nothing changed")
		}
		return obj, nil
	}
}

func (d *differential) delete(slot string) operation {
	preconditions := rapid.SampledFrom([]string{"none", "none", "uid", "resourceVersion", "both"}).Draw(d.T, "preconditions")
	propagation := rapid.SampledFrom([]metav1.DeletionPropagation{"", "", metav1.DeletePropagationForeground,
		metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan}).Draw(d.T, "propagation")
	grace := rapid.SampledFrom([]int64{-1, -1, 0, 5}).Draw(d.T, "grace")
	return func(s *side) (client.Object, error) {
		obj := s.slots[slot]
		var opts []client.DeleteOption
		if preconditions != "none" {
			uid, version := obj.GetUID(), obj.GetResourceVersion()
			p := client.Preconditions{}
			if preconditions != "resourceVersion" {
				p.UID = &uid
			}
			if preconditions != "uid" {
				p.ResourceVersion = &version
			}
			opts = append(opts, p)
		}
		if propagation != "" {
			opts = append(opts, client.PropagationPolicy(propagation))
		}
		if grace >= 0 {
			opts = append(opts, client.GracePeriodSeconds(grace))
		}
		return nil, s.client.Delete(d.Context(), obj.DeepCopyObject().(client.Object), opts...)
	}
}

func (d *differential) list(kind string) {
	var opts []client.ListOption
	switch rapid.IntRange(0, 4).Draw(d.T, "selector") {
	case 0:
		opts = append(opts, client.MatchingLabels{"colour": "red"})
	case 1:
		opts = append(opts, client.HasLabels{"colour"})
	case 2:
		opts = append(opts, client.MatchingFields{"metadata.name": "a"})
	case 3:
		opts = append(opts, client.MatchingFields{"metadata.namespace": d.namespace})
		if kind == "run" || kind == "key" { // a RunKey cannot be selected by spec.jobName: both must refuse
			opts = append(opts, client.MatchingFields{"spec.jobName": "sync"})
		}
	}
	var answers []string
	for _, s := range d.sides {
		list := emptyList(kind)
		err := s.client.List(d.Context(), list, append(opts, client.InNamespace(d.namespace))...)
		answers = append(answers, s.describeError(err)+s.describeList(list))
	}
	if diff := cmp.Diff(answers[1], answers[0]); diff != "" {
		d.Fatalf("list: the answers differ (- API server, + model):\n%s", diff)
	}
}

// compareState compares everything that is stored.
func (d *differential) compareState() {
	for _, kind := range kindNames {
		var states []string
		for _, s := range d.sides {
			list := emptyList(kind)
			if err := s.client.List(d.Context(), list, client.InNamespace(d.namespace)); err != nil {
				d.Fatal(err)
			}
			states = append(states, s.describeList(list))
		}
		if diff := cmp.Diff(states[1], states[0]); diff != "" {
			d.Fatalf("the %ss that are stored differ (- API server, + model):\n%s", kind, diff)
		}
	}
}

// describeError renders an error without the parts that may differ.
func (s *side) describeError(err error) string {
	if err == nil {
		return "ok\n"
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return err.Error() + "\n"
	}
	reason := status.Status()
	var causes []string
	if reason.Details != nil {
		for _, cause := range reason.Details.Causes {
			causes = append(causes, fmt.Sprintf("%s %s: %s", cause.Field, cause.Type, cause.Message))
		}
		slices.Sort(causes)
	}
	text := fmt.Sprintf("%d %s: %s\n%s\n", reason.Code, reason.Reason, sortedMessage(reason.Message), strings.Join(causes, "\n"))
	return s.withoutNumbers(text)
}

// sortedMessage sorts the parts of an aggregated message. Their order is random, because the registry
// iterates over maps.
func sortedMessage(message string) string {
	head, list, found := strings.Cut(message, ": [")
	if !found {
		return message
	}
	parts := strings.Split(strings.TrimSuffix(list, "]"), ", ")
	slices.Sort(parts)
	return head + ": [" + strings.Join(parts, ", ")
}

var (
	uidPattern     = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	versionPattern = regexp.MustCompile(`((ResourceVersion in (precondition|object meta|record)|the ResourceVersion in the precondition)[: ]+\(?)\d+`)
)

// withoutNumbers replaces uids by their place in the order of creation, and drops resourceVersions.
func (s *side) withoutNumbers(text string) string {
	text = uidPattern.ReplaceAllStringFunc(text, func(uid string) string {
		return fmt.Sprintf("uid-%d", slices.Index(s.uids, types.UID(uid)))
	})
	return versionPattern.ReplaceAllString(text, "${1}N")
}

func (s *side) describeList(list client.ObjectList) string {
	var text strings.Builder
	_ = meta.EachListItem(list, func(obj runtime.Object) error {
		text.WriteString(s.describe(obj.(client.Object)))
		return nil
	})
	return text.String()
}

// describe renders an object without the parts that may differ.
func (s *side) describe(original client.Object) string {
	if original == nil {
		return "no object"
	}
	obj := original.DeepCopyObject().(client.Object)
	obj.SetManagedFields(nil)
	obj.SetResourceVersion("")
	obj.SetNamespace("")
	if created := obj.GetCreationTimestamp(); !created.IsZero() {
		obj.SetCreationTimestamp(metav1.Unix(1, 0))
	}
	if obj.GetDeletionTimestamp() != nil {
		at := metav1.Unix(1, 0)
		obj.SetDeletionTimestamp(&at)
	}
	switch obj := obj.(type) {
	case *batchv1.Job:
		// The defaults of the Pod template are not modelled.
		obj.Spec.Template.Spec = corev1.PodSpec{}
	case *corev1.Pod:
		obj.Spec = corev1.PodSpec{NodeName: obj.Spec.NodeName, TerminationGracePeriodSeconds: obj.Spec.TerminationGracePeriodSeconds}
	}
	text, err := yaml.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	return s.withoutNumbers(withoutNow(string(text))) + "\n"
}

var timestamp = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z`)

// withoutNow replaces the times of the last hour: the two sides do the same at different times.
func withoutNow(text string) string {
	return timestamp.ReplaceAllStringFunc(text, func(match string) string {
		if at, err := time.Parse(time.RFC3339Nano, match); err != nil || time.Since(at).Abs() > time.Hour {
			return match
		}
		return "now"
	})
}

func emptyObject(kind string) client.Object {
	return map[string]client.Object{
		"run": &v1alpha1.JobRun{}, "key": &v1alpha1.RunKey{}, "job": &batchv1.Job{},
		"pod": &corev1.Pod{}, "lease": &coordinationv1.Lease{},
	}[kind]
}

func emptyList(kind string) client.ObjectList {
	return map[string]client.ObjectList{
		"run": &v1alpha1.JobRunList{}, "key": &v1alpha1.RunKeyList{}, "job": &batchv1.JobList{},
		"pod": &corev1.PodList{}, "lease": &coordinationv1.LeaseList{},
	}[kind]
}

func (d *differential) Context() context.Context { return context.Background() }
