// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	callers    = 200
	pauseLeast = 8 * time.Second
	pauseMost  = 16 * time.Second
	retryPause = 500 * time.Millisecond
)

// storm is a crowd of callers that trigger runs until the channel stop is closed.
type storm struct {
	client  client.Client
	keys    []string
	script  string
	calling sync.WaitGroup
	stop    chan struct{}

	mu sync.Mutex
	// accepted has the time at which each accepted trigger was sent, by name.
	accepted  map[string]time.Time
	refused   int
	lastError error
}

// startStorm starts callers with the role edit.
func startStorm(script string, keys ...string) *storm {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "developers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "developers"}},
	})).To(Succeed())
	kubeconfig, err := plane.KubeconfigFor("developer", "developers")
	Expect(err).NotTo(HaveOccurred())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	s := &storm{
		client: newClient(config), keys: keys, script: script,
		stop: make(chan struct{}), accepted: map[string]time.Time{},
	}
	for i := range callers {
		s.calling.Go(func() { s.call(i) })
	}
	return s
}

func (s *storm) call(caller int) {
	for n := 0; ; n++ {
		s.trigger(s.manifest(caller, n))
		select {
		case <-s.stop:
			return
		case <-time.After(pauseLeast + rand.N(pauseMost-pauseLeast)):
		}
	}
}

// manifest returns the n-th manifest of a caller. One caller in ten does not coalesce, and another one delivers each
// trigger twice.
func (s *storm) manifest(caller, n int) manifest {
	m := run(fmt.Sprintf("r-%d-%d", caller, n), s.script).in(ns).key(s.keys[caller%len(s.keys)])
	switch caller % 10 {
	case 0:
		return m
	case 1:
		return m.skip().delivery(fmt.Sprintf("%d-%d", caller, n/2))
	default:
		return m.skip()
	}
}

// trigger creates a JobRun, and tries again until it knows the result. After an error that is not a conflict, the JobRun
// may exist, so trigger looks for it first. Even Forbidden may be temporary: an API server that starts does not know the
// roles yet.
func (s *storm) trigger(m manifest) {
	for ctx.Err() == nil {
		sent := time.Now()
		err := s.client.Create(ctx, m.obj.DeepCopy())
		switch {
		case apierrors.IsConflict(err):
			s.note(func() { s.refused++ })
			return
		case err == nil || s.exists(m.obj.Name):
			s.note(func() { s.accepted[m.obj.Name] = sent })
			return
		}
		s.note(func() { s.lastError = err })
		time.Sleep(retryPause)
	}
}

// exists reports whether the JobRun exists. It tries again until the API server answers.
func (s *storm) exists(name string) bool {
	for ctx.Err() == nil {
		err := s.client.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, &v1alpha1.JobRun{})
		if err == nil || apierrors.IsNotFound(err) {
			return err == nil
		}
		time.Sleep(retryPause)
	}
	return false
}

func (s *storm) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *storm) numberAccepted() (n int) {
	s.note(func() { n = len(s.accepted) })
	return n
}

func (s *storm) why() (why string) {
	s.note(func() { why = fmt.Sprint("the last error: ", s.lastError) })
	return why
}

// end stops the callers and waits for their last answers.
func (s *storm) end() {
	GinkgoHelper()
	close(s.stop)
	ended := make(chan struct{})
	go func() {
		s.calling.Wait()
		close(ended)
	}()
	Eventually(ended).Should(BeClosed(), s.why)
}
