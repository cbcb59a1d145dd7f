// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// mostAbsorbed bounds the triggers of a meeting that try to be absorbed.
const mostAbsorbed = 5

// meet lets triggers of a key meet: one is delivered twice, another is absorbed, and a dry run asks what would happen.
func meet(ctx context.Context, w *world, i Injection) error {
	return w.tell(ctx, i, func(_ context.Context, a *author) bool {
		first, again, dry := a.run("first", jobByWorker), a.run("again", jobByWorker), a.run("dry", jobByWorker)
		first.Spec.IdempotencyKey, again.Spec.IdempotencyKey, dry.Spec.Coalesce = a.title, a.title, v1alpha1.CoalesceSkip
		return a.begin(first) && a.answer(again, trigger) == v1alpha1.DispositionIdempotent && a.answer(dry, dryRun) != "" && a.isAbsorbed()
	})
}

// isAbsorbed triggers runs until one is absorbed. A worker may claim the waiting run at any moment, so the first may not be.
func (a *author) isAbsorbed() bool {
	for n := range mostAbsorbed {
		run := a.run(fmt.Sprint("absorbed-", n), jobByWorker)
		run.Spec.Coalesce = v1alpha1.CoalesceSkip
		if a.answer(run, trigger) == v1alpha1.DispositionCoalesced {
			return true
		}
	}
	return false
}

// shareMost is how many triggers of a key are sent at once, so that some share a JobRun.
const shareMost = 12

// share lets triggers of a key share a JobRun at a gateway.
func share(ctx context.Context, w *world, i Injection) error {
	return w.tell(ctx, i, func(_ context.Context, a *author) bool {
		a.count++
		c := a.atGateway()
		answered := c.atOnce(w.drawnGateway(i), c.stormOf(a.title, shareMost))
		names := map[string]bool{}
		for i := range answered {
			names[answered[i].Name] = true
		}
		return len(names) < len(answered) && !names[""]
	})
}
