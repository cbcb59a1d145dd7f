// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"context"
	"testing"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A cached row of another key with the same name is not used, even if its waiting place is free.
func TestAdmitHashCollisionInTheCache(t *testing.T) {
	key := wrappers.MakeRunKey("k").Leased("a", 1, "9")
	key.RunKey.Spec.Key = "another key"
	store := wrappers.NewStore(nil, key.Obj())
	out, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(), false, asItIs)
	if err == nil {
		t.Errorf("outcome %+v", out)
	}
	if writes := store.Writes(); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}
}
