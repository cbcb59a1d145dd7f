// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// warnings returns the texts that tell the caller which run stands for the trigger. If that run has ended, they tell how, and
// what to do to execute again.
func (h *Handler) warnings(ctx context.Context, run *v1alpha1.JobRun, out keystore.Outcome) []string {
	if out.Disposition == v1alpha1.DispositionCoalesced {
		return []string{fmt.Sprintf("jobrun %s coalesced: run %s already waits for job %q, concurrencyKey %q and stands for this trigger",
			run.Name, out.Run.RunName, run.Spec.JobName, run.Spec.ConcurrencyKey)}
	}
	text := fmt.Sprintf("jobrun %s starts nothing: idempotencyKey %q of job %q was delivered before, run %s stands for it",
		run.Name, run.Spec.IdempotencyKey, run.Spec.JobName, out.Run.RunName)
	if first := h.firstDelivery(ctx, run, out); first != nil && !sameInput(first.Spec.Input, run.Spec.Input) {
		text += fmt.Sprintf("; its input differs from that of %s and is ignored", first.Name)
	}
	if end := h.endOf(ctx, run.Namespace, out); end != nil {
		return []string{text, endedWarning(run, out, end)}
	}
	return []string{text}
}

// endedWarning returns the text that tells how the run of a second delivery ended, and what to do to execute again.
func endedWarning(run *v1alpha1.JobRun, out keystore.Outcome, end *v1alpha1.RememberedOutcome) string {
	text := fmt.Sprintf("run %s %s at %s", out.Run.RunName, endings[end.Phase], end.CompletionTime.UTC().Format(time.RFC3339))
	if out.Terms.ReleasesAfter(end.Phase) {
		return text + " and is about to release its idempotencyKey: trigger again"
	}
	if !end.ForgetTime.IsZero() {
		text += ", and its idempotencyKey is remembered until " + end.ForgetTime.UTC().Format(time.RFC3339)
	}
	text += fmt.Sprintf("; to execute again, use another idempotencyKey, or release this one: "+
		"kubectl jobrun release-key %s -n %s --idempotency-key %s", run.Spec.JobName, run.Namespace, shellQuoted(run.Spec.IdempotencyKey))
	if end.Phase != v1alpha1.PhaseCompleted {
		text += "; a first delivery with idempotencyRelease: OnFailure releases it by itself"
	}
	return text
}

// endings say how a run ended.
var endings = map[v1alpha1.Phase]string{
	v1alpha1.PhaseCompleted: "completed",
	v1alpha1.PhaseFailed:    "failed",
	v1alpha1.PhaseCancelled: "was cancelled",
}

// shellQuoted returns a text as one word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// endOf returns how the run that stands for a second delivery ended; nil if it has not ended, or if neither the key nor the
// cache tells.
func (h *Handler) endOf(ctx context.Context, namespace string, out keystore.Outcome) *v1alpha1.RememberedOutcome {
	if out.Remembered != nil {
		return out.Remembered
	}
	run := &v1alpha1.JobRun{}
	name := types.NamespacedName{Namespace: namespace, Name: out.Run.RunName}
	err := h.cached.Get(ctx, name, run)
	if err != nil || runkey.IdentityOf(run) != out.Run || !run.HasEnded() || run.Status.CompletionTime == nil {
		return nil
	}
	return runkey.OutcomeOf(run)
}

// firstDelivery returns the oldest JobRun in the cache with the idempotency key of run. If the cache has none, it
// returns the run that stands for the first delivery. It returns nil if it cannot read that JobRun.
func (h *Handler) firstDelivery(ctx context.Context, run *v1alpha1.JobRun, out keystore.Outcome) *v1alpha1.JobRun {
	var found v1alpha1.JobRunList
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	err := h.cached.List(ctx, &found, client.InNamespace(run.Namespace), client.MatchingFields{cache.FieldIdempotency: name},
		client.UnsafeDisableDeepCopy) // A copy of very many deliveries takes too long.
	if err != nil {
		return nil
	}
	var first *v1alpha1.JobRun
	for i := range found.Items {
		if c := &found.Items[i]; c.Spec.IdempotencyKey == run.Spec.IdempotencyKey && (first == nil || v1alpha1.CompareAge(c, first) < 0) {
			first = c
		}
	}
	if first != nil && !cache.IsSlim(first) {
		return first
	}
	whole := &v1alpha1.JobRun{}
	stored := types.NamespacedName{Namespace: run.Namespace, Name: out.Run.RunName}
	if first != nil {
		stored.Name = first.Name
	}
	if err := h.live.Get(ctx, stored, whole); err != nil {
		return nil
	}
	return whole
}
