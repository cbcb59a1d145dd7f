// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxText is how long status.error may be, and a progress message.
const maxText = 1024

// operation is one of a JSON Patch. Unlike a merge patch it keeps a null in an output.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Patch is one change of a run's status by the holder of one generation. It may be
// sent again, and is stored under no other generation.
type Patch []operation

// Complete ends a run well. An output of null is none.
func Complete(generation int64, output json.RawMessage) Patch {
	p := end(generation, v1alpha1.PhaseCompleted)
	if len(output) > 0 && string(output) != "null" {
		p = append(p, operation{"add", "/status/output", output})
	}
	return p
}

// Fail ends a run badly, with one line for people.
func Fail(generation int64, message string) Patch {
	if message = oneLine(message); message == "" {
		message = "failed without a message"
	}
	return append(end(generation, v1alpha1.PhaseFailed), operation{"add", "/status/error", message})
}

// end is an end under a generation. The schema refuses it under any but the run's own.
func end(generation int64, phase v1alpha1.Phase) Patch {
	return Patch{{"add", "/status/finishedGeneration", generation}, {"add", "/status/phase", phase}}
}

// GiveBack lets a run wait for another holder: it fences this one.
func GiveBack(run *v1alpha1.JobRun, generation int64) Patch {
	next := v1alpha1.RunLease{Generation: generation + 1, KeyVersion: run.Status.Lease.KeyVersion}
	return append(held(generation), operation{"replace", "/status/lease", next})
}

// Renew keeps a run's lease alive that is not renewed through a Lease.
func Renew(generation int64, now time.Time) Patch {
	return append(held(generation), operation{"add", "/status/lease/renewTime", metav1.NewMicroTime(now)})
}

// Report says how much is done. A total of 0 is unknown.
func Report(generation, current, total int64, message string) Patch {
	p := v1alpha1.Progress{Generation: generation, Current: &current, Message: oneLine(message)}
	if total > 0 {
		p.Total = &total
	}
	return Patch{{"test", "/status/phase", v1alpha1.PhaseLeased}, {"add", "/status/progress", p}}
}

// held makes sure that the lease is this one.
func held(generation int64) Patch {
	return Patch{{"test", "/status/phase", v1alpha1.PhaseLeased}, {"test", "/status/lease/generation", generation}}
}

// Send changes the status of this very run, never of another one of its name, and
// returns the run as it is then.
func (p Patch) Send(ctx context.Context, api client.Client, run *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	body, err := json.Marshal(append(Patch{{"test", "/metadata/uid", run.UID}}, p...))
	if err != nil {
		return nil, err
	}
	target := &v1alpha1.JobRun{}
	target.Namespace, target.Name = run.Namespace, run.Name
	return target, api.Status().Patch(ctx, target, client.RawPatch(types.JSONPatchType, body))
}

// oneLine is a text for people as the status takes it.
func oneLine(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText-1]) + "…"
	}
	return text
}
