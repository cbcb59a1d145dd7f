// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxText is the longest status.error, and the longest progress message, in characters.
const maxText = 1024

// operation is one operation of a JSON Patch. Unlike a merge patch, a JSON Patch keeps a null in an output.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Patch is one change of a run's status by the holder of one generation. It is safe to send it again: the API server
// refuses it under every other generation.
type Patch []operation

// Complete returns a Patch that completes a run. An output of null is the same as no output.
func Complete(generation int64, output json.RawMessage) Patch {
	p := end(generation, v1alpha1.PhaseCompleted)
	if len(output) > 0 && string(output) != "null" {
		p = append(p, operation{"add", "/status/output", output})
	}
	return p
}

// Fail returns a Patch that fails a run. The message is made one line, and cut to 1024 characters.
func Fail(generation int64, message string) Patch {
	if message = oneLine(message); message == "" {
		message = "failed without a message"
	}
	return append(end(generation, v1alpha1.PhaseFailed), operation{"add", "/status/error", message})
}

// end returns a Patch that ends a run. The CRD's rules refuse it under every generation but that of the lease.
func end(generation int64, phase v1alpha1.Phase) Patch {
	return Patch{{"add", "/status/finishedGeneration", generation}, {"add", "/status/phase", phase}}
}

// GiveBack returns a Patch that fences this holder, so that the run waits for another one.
func GiveBack(run *v1alpha1.JobRun, generation int64) Patch {
	next := v1alpha1.RunLease{Generation: generation + 1, KeyVersion: run.Status.Lease.KeyVersion}
	return append(held(generation), operation{"replace", "/status/lease", next})
}

// Renew returns a Patch that renews a lease whose holder does not renew a coordination.k8s.io Lease.
func Renew(generation int64, now time.Time) Patch {
	return append(held(generation), operation{"add", "/status/lease/renewTime", metav1.NewMicroTime(now)})
}

// Report returns a Patch that reports progress. A total of 0 means unknown. The message is made one line, and cut to 1024
// characters.
func Report(generation, current, total int64, message string) Patch {
	p := v1alpha1.Progress{Generation: generation, Current: &current, Message: oneLine(message)}
	if total > 0 {
		p.Total = &total
	}
	return Patch{{"test", "/status/phase", v1alpha1.PhaseLeased}, {"add", "/status/progress", p}}
}

// held tests that the lease has this generation.
func held(generation int64) Patch {
	return Patch{{"test", "/status/phase", v1alpha1.PhaseLeased}, {"test", "/status/lease/generation", generation}}
}

// Send sends the patch and returns the changed run. It never changes another JobRun of that name. The error names the limit
// of an output if the patch was refused for its size.
func (p Patch) Send(ctx context.Context, api client.Client, run *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	body, err := json.Marshal(append(Patch{{"test", "/metadata/uid", run.UID}}, p...))
	if err != nil {
		return nil, err
	}
	target := &v1alpha1.JobRun{}
	target.Namespace, target.Name = run.Namespace, run.Name
	err = api.Status().Patch(ctx, target, client.RawPatch(types.JSONPatchType, body))
	if TooLarge(err) {
		err = fmt.Errorf("status.output must have at most %d bytes of JSON: %w", v1alpha1.MaxWorkerOutputBytes, err)
	}
	return target, err
}

// oneLine makes a text fit the status: one line of valid UTF-8 of at most maxText characters.
func oneLine(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText-1]) + "…"
	}
	return text
}
