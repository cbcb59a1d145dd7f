// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const retryPause = 500 * time.Millisecond

// callers trigger runs until they are stopped.
type callers struct {
	calling sync.WaitGroup
	stop    chan struct{}

	mu sync.Mutex
	// accepted has the time at which each accepted trigger was sent, by name.
	accepted map[string]time.Time
	// conflicts counts the triggers that were refused because a run waits. forbidden has the refusals for a missing right.
	conflicts int
	forbidden []error
	// delays has how often a trigger had to be sent again, by the error. longest is the longest time until a trigger was answered.
	delays  map[string]int
	longest time.Duration
}

func newCallers() *callers {
	return &callers{stop: make(chan struct{}), accepted: map[string]time.Time{}, delays: map[string]int{}}
}

// call lets a caller send the triggers that next returns, with a pause between them.
func (c *callers) call(by client.Client, pause time.Duration, next func(n int) []*v1alpha1.JobRun) {
	c.calling.Go(func() {
		for n := 0; ; n++ {
			for _, run := range next(n) {
				c.trigger(by, run)
			}
			select {
			case <-c.stop:
				return
			case <-time.After(pause):
			}
		}
	})
}

// trigger creates a JobRun, and tries again until it knows the result. After an error that is neither a conflict nor for a missing
// right, the JobRun may exist.
func (c *callers) trigger(by client.Client, run *v1alpha1.JobRun) {
	first := time.Now()
	defer func() { c.note(func() { c.longest = max(c.longest, time.Since(first)) }) }()
	for ctx.Err() == nil {
		sent := time.Now()
		err := by.Create(ctx, run.DeepCopy())
		switch {
		case apierrors.IsConflict(err):
			c.note(func() { c.conflicts++ })
			return
		case apierrors.IsForbidden(err):
			c.note(func() { c.forbidden = append(c.forbidden, err) })
			return
		case err == nil || exists(by, run):
			c.note(func() { c.accepted[run.Name] = sent })
			return
		}
		c.note(func() { c.delays[err.Error()]++ })
		time.Sleep(retryPause)
	}
}

// exists reports whether a JobRun exists. It tries again until the API server answers.
func exists(by client.Client, run *v1alpha1.JobRun) bool {
	for ctx.Err() == nil {
		err := by.Get(ctx, client.ObjectKeyFromObject(run), &v1alpha1.JobRun{})
		if err == nil || apierrors.IsNotFound(err) {
			return err == nil
		}
		time.Sleep(retryPause)
	}
	return false
}

func (c *callers) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *callers) numberAccepted() (n int) {
	c.note(func() { n = len(c.accepted) })
	return n
}

// end stops the callers and waits for their last answers.
func (c *callers) end() {
	GinkgoHelper()
	close(c.stop)
	ended := make(chan struct{})
	go func() {
		c.calling.Wait()
		close(ended)
	}()
	Eventually(ended).Should(BeClosed())
}

// newUser makes a ServiceAccount with a Role in a namespace, and returns its client. allow adds rules to the Role later.
func newUser(namespace, name string, rules ...rbacv1.PolicyRule) (by client.Client, allow func(rbacv1.PolicyRule)) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
	Expect(k8s.Create(ctx, role)).To(Succeed())
	Expect(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta})).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	})).To(Succeed())
	by = newClientOf(plane.ServiceAccountKubeconfig(ctx, namespace, name))
	Eventually(func() error { // The authorizer sees the binding a moment later.
		return client.IgnoreNotFound(by.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "none"}, &v1alpha1.JobRun{}))
	}).Should(Succeed())
	return by, func(rule rbacv1.PolicyRule) {
		GinkgoHelper()
		role.Rules = append(role.Rules, rule)
		Expect(k8s.Update(ctx, role)).To(Succeed())
	}
}

// newEditor returns a client of a user with the role edit in a namespace.
func newEditor(namespace string) client.Client {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "developers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "developers"}},
	})).To(Succeed())
	by := newClientOf(plane.KubeconfigFor("developer", "developers"))
	Eventually(func() error { return by.List(ctx, &v1alpha1.JobRunList{}, client.InNamespace(namespace)) }).Should(Succeed())
	return by
}

func newClientOf(kubeconfig string, err error) client.Client {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	return newClient(config)
}

func newNamespace() string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "upgrade-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

func (c *callers) String() string {
	var text string
	c.note(func() {
		text = fmt.Sprintf("accepted %d, conflicts %d, the longest answer took %s, sent again: %v",
			len(c.accepted), c.conflicts, c.longest, c.delays)
	})
	return text
}
