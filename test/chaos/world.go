// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	// namespacePrefix begins the names of all namespaces of callers.
	namespacePrefix = "chaos-"
	workers         = 8
	// accounts is the number of users who call the gateways. Triggers of one user may share a JobRun.
	accounts = 2
	// doomedFor is how long callers work in a namespace before it is deleted.
	doomedFor = 4 * time.Second
)

// world is a running scenario.
type world struct {
	config    Config
	cluster   *cluster
	namespace string
	crowd     *crowd
	crew      *crew
	// working is the context of the workers. It lasts longer than the faults, until dismiss ends it.
	working context.Context //nolint:containedctx // faults start workers
	dismiss func()

	// These locks keep faults from breaking the same thing at the same time.
	apiServer, etcd, dooming sync.Mutex
	doomed                   int // number of doomed namespaces, guarded by dooming

	mu sync.Mutex
	// effects counts how often each fault found something to break.
	effects map[string]int
	// vandalised has the RunKeys that were deleted by hand, or may have been.
	vandalised map[types.UID]bool
	failed     []error // injections that failed
}

// doomedName returns the name of the n-th namespace to delete.
func (w *world) doomedName(n int) string { return fmt.Sprintf("%s-doomed-%d", w.namespace, n) }

// prepareNamespace creates a namespace in which the callers have the role edit.
func (w *world) prepareNamespace(ctx context.Context, name string) error {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "developers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
			Subjects: []rbacv1.Subject{
				{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "developers"},
				{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: serviceaccount.MakeNamespaceGroupName(name)},
			},
		},
	}
	for _, object := range objects {
		if err := w.persist(ctx, func() error { return w.cluster.api.Create(ctx, object) }); err != nil {
			return fmt.Errorf("prepare namespace %s: %w", name, err)
		}
	}
	// The authorizer sees the new binding a moment later.
	return w.persist(ctx, func() error {
		return w.crowd.api.List(ctx, &v1alpha1.JobRunList{}, client.InNamespace(name), client.Limit(1))
	})
}

// makeAccounts makes the ServiceAccounts whose tokens the callers of the gateways send.
func (w *world) makeAccounts(ctx context.Context) error {
	for n := range accounts {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: accountName(n)}}
		token := &authenticationv1.TokenRequest{}
		err := w.persist(ctx, func() error { return w.cluster.api.Create(ctx, account) })
		if err == nil {
			err = w.persist(ctx, func() error { return w.cluster.api.SubResource("token").Create(ctx, account, token) })
		}
		if err != nil {
			return fmt.Errorf("make the account %s: %w", account.Name, err)
		}
		w.crowd.tokens = append(w.crowd.tokens, token.Status.Token)
	}
	return nil
}

func accountName(n int) string { return fmt.Sprintf("caller-%d", n) }

// persist tries again until the operation succeeds or has already been done.
func (w *world) persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// installPolicy makes the API server refuse JobRuns with refuseLabel, after the webhook has admitted them.
func (w *world) installPolicy(ctx context.Context) error {
	for _, object := range controlplane.RefusalPolicy("chaos-refuse", refuseLabel, "") {
		if err := w.persist(ctx, func() error { return w.cluster.api.Create(ctx, object) }); err != nil {
			return fmt.Errorf("install the policy: %w", err)
		}
	}
	return nil
}

// took counts a fault that found something to break.
func (w *world) took(i Injection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effects[i.Fault]++
}

// note records that a fault could not be injected.
func (w *world) note(i Injection, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, fmt.Errorf("inject %s: %w", i.Fault, err))
}
