// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// webhookPath is the path in config/webhook/manifests.yaml.
const webhookPath = "/mutate-batch-jobrun-dev-v1alpha1-jobrun"

// recorder is a webhook whose answers depend on the name of the run. It keeps the requests.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

// Handle implements admission.Handler.
func (r *recorder) Handle(_ context.Context, request admission.Request) admission.Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, describeRequest(request))
	switch request.Name {
	case "refused":
		err := apierrors.NewConflict(schema.GroupResource{Group: request.Resource.Group, Resource: request.Resource.Resource}, request.Name, fmt.Errorf("run x is pending"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "PendingRun", Field: "spec.concurrencyKey", Message: "x"}}
		response := admission.Response{}
		response.Result = &err.ErrStatus
		return response
	case "denied":
		return admission.Denied("because").WithWarnings("think again")
	case "failed":
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("oops"))
	case "plain":
		return admission.Allowed("")
	}
	patches := []jsonpatch.JsonPatchOperation{
		jsonpatch.NewOperation("add", "/spec/admission", map[string]any{"disposition": "Created", "runName": "a", "runToken": "t", "token": "t"}),
		jsonpatch.NewOperation("add", "/metadata/labels", map[string]any{v1alpha1.LabelKey: "stamped"}),
	}
	if request.Name == "" {
		patches = append(patches, jsonpatch.NewOperation("add", "/metadata/name", "generated-by-the-webhook"))
	}
	return admission.Patched("", patches...).WithWarnings("a warning")
}

func describeRequest(request admission.Request) string {
	request.UID = "uid"
	request.UserInfo.Username = "user"
	request.UserInfo.Groups, request.UserInfo.Extra, request.UserInfo.UID = nil, nil, ""
	request.Options.Raw = nil
	request.Namespace = "ns"
	request.Object.Raw = describeRaw(request.Object.Raw)
	request.OldObject.Raw = describeRaw(request.OldObject.Raw)
	text, err := yaml.Marshal(request.AdmissionRequest)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// describeRaw renders an object without the parts that may differ between two servers.
func describeRaw(raw []byte) []byte {
	if raw == nil {
		return nil
	}
	object := map[string]any{}
	if err := json.Unmarshal(raw, &object); err != nil {
		return raw
	}
	metadata := object["metadata"].(map[string]any)
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "namespace"} {
		delete(metadata, field)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return raw
}

// submission is a sequence of requests of a user.
type submission struct {
	name string
	run  *v1alpha1.JobRun
	// change, unless nil, is made to the stored object in a second request.
	change func(*v1alpha1.JobRun)
	dryRun bool
}

func submissions() []submission {
	run := func(name string) *v1alpha1.JobRun {
		return &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
			Spec: v1alpha1.JobRunSpec{JobName: "sync"}, Status: v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCompleted}}
	}
	generated := run("")
	generated.GenerateName = "gen-"
	invalid := run("invalid")
	invalid.Spec.JobName = "Not A Label"
	return []submission{
		{name: "create", run: run("plain")},
		{name: "create, patched", run: run("patched")},
		{name: "exists", run: run("patched")},
		{name: "generateName", run: generated},
		{name: "dry run", run: run("dry"), dryRun: true},
		{name: "conflict with causes", run: run("refused")},
		{name: "denied", run: run("denied")},
		{name: "errored", run: run("failed")},
		{name: "invalid after the webhook", run: invalid},
		{name: "cancel", run: run("cancel"), change: func(run *v1alpha1.JobRun) { run.Spec.Cancel = ptr.To(true) }},
		{name: "label of the user", run: run("label"), change: func(run *v1alpha1.JobRun) { run.Labels["x"] = "y" }},
		{name: "label of the operator", run: run("key"), change: func(run *v1alpha1.JobRun) { run.Labels[v1alpha1.LabelKey] = "mine" }},
		{name: "no change", run: run("same"), change: func(*v1alpha1.JobRun) {}},
		{name: "immutable", run: run("immutable"), change: func(run *v1alpha1.JobRun) { run.Spec.JobName = "other" }},
	}
}

// TestAdmissionDifferential submits the same JobRuns to a gateway and to a real API server that has the
// webhook configuration of config/webhook. It compares the requests to the webhook and the answers to the
// user.
func TestAdmissionDifferential(t *testing.T) {
	real := submitToServer(t)
	modelled := submitToGateway(t)
	for i, s := range submissions() {
		if diff := cmp.Diff(real[i], modelled[i]); diff != "" {
			t.Errorf("%s (- API server, + model):\n%s", s.name, diff)
		}
	}
}

// answers renders the answers to a submission.
type answers struct {
	Asked, Told []string
}

func (a *answers) told(s *side, run *v1alpha1.JobRun, warnings []string, err error) {
	if err != nil {
		run = nil
	} else {
		run.UID = ""
	}
	text := s.describeError(err)
	if run != nil {
		text += s.describe(run)
	}
	a.Told = append(a.Told, text+fmt.Sprint(warnings))
}

func submitToGateway(t *testing.T) []answers {
	t.Helper()
	var all []answers
	err := Run(t, func() error {
		sim, err := NewSim(Options{})
		if err != nil {
			return err
		}
		gateway, err := sim.NewGateway()
		if err != nil {
			return err
		}
		webhook := &recorder{}
		sim.AddMachine("webhook", func(p *Process) (Source, error) {
			gateway.Serve(p, webhook)
			return nil, nil
		})
		user, err := sim.NewProcess("user")
		if err != nil {
			return err
		}
		user.Go("submits", func(ctx context.Context) {
			for _, s := range submissions() {
				var a answers
				webhook.asked = nil
				answer := gateway.Create(ctx, s.run, s.dryRun)
				a.told(&side{}, answer.Run, answer.Warnings, answer.Err)
				if s.change != nil && answer.Err == nil {
					old := &v1alpha1.JobRun{}
					if err := user.Live.Get(ctx, client.ObjectKey{Namespace: "default", Name: s.run.Name}, old); err != nil {
						panic(err)
					}
					changed := old.DeepCopy()
					s.change(changed)
					answer := gateway.Update(ctx, changed, old)
					a.told(&side{}, answer.Run, answer.Warnings, answer.Err)
				}
				a.Asked = slices.Clone(webhook.asked)
				all = append(all, a)
			}
		})
		return sim.Run()
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// warnings collects the warnings of a client.
type warnings struct{ texts []string }

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.texts = append(w.texts, text)
}

func (w *warnings) take() []string {
	texts := w.texts
	w.texts = nil
	return texts
}

func submitToServer(t *testing.T) []answers {
	t.Helper()
	webhook := &recorder{}
	config := startServerWithWebhook(t, webhook)
	heard := &warnings{}
	config.WarningHandlerWithContext = heard
	c, err := client.New(config, client.Options{Scheme: Scheme})
	if err != nil {
		t.Fatal(err)
	}
	var all []answers
	for _, s := range submissions() {
		var a answers
		webhook.asked = nil
		var opts []client.CreateOption
		if s.dryRun {
			opts = append(opts, client.DryRunAll)
		}
		run := s.run.DeepCopy()
		err := c.Create(t.Context(), run, opts...)
		a.told(&side{}, run.DeepCopy(), heard.take(), err)
		if s.change != nil && err == nil {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
				t.Fatal(err)
			}
			s.change(run)
			err := c.Update(t.Context(), run)
			a.told(&side{}, run, heard.take(), err)
		}
		a.Asked = slices.Clone(webhook.asked)
		all = append(all, a)
	}
	return all
}

func startServerWithWebhook(t *testing.T, handler admission.Handler) *rest.Config {
	t.Helper()
	environment := testEnvironment(t)
	environment.WebhookInstallOptions = envtest.WebhookInstallOptions{Paths: []string{checkout.Path("config", "webhook", "manifests.yaml")}}
	config := startEnvironment(t, environment)
	serving := environment.WebhookInstallOptions
	server := webhook.NewServer(webhook.Options{Host: serving.LocalServingHost, Port: serving.LocalServingPort, CertDir: serving.LocalServingCertDir})
	server.Register(webhookPath, &admission.Webhook{Handler: handler})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	for server.StartedChecker()(nil) != nil {
		if t.Context().Err() != nil {
			t.Fatal("the webhook does not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return config
}
