// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"maps"
	"slices"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// ownDomains are the domains of labels and annotations that say something about a JobRun itself, and not about its work. A
// domain stands for its subdomains, too.
//
// Tools that apply manifests mark what they applied. They would take a Job with such a mark for one of their objects, and
// delete it, because it is in no manifest.
var ownDomains = []string{
	v1alpha1.GroupVersion.Group,
	"batch.kubernetes.io", // The Job controller sets these.
	"kubectl.kubernetes.io", "applyset.kubernetes.io",
	"config.kubernetes.io", "config.k8s.io", // kustomize, kpt, cli-utils
	"argocd.argoproj.io", "fluxcd.io", "helm.sh", "kapp.k14s.io",
	"cattle.io",                                    // Rancher, Fleet
	"configsync.gke.io", "configmanagement.gke.io", // Config Sync
}

// ownNames are further names of that kind.
var ownNames = []string{
	"app.kubernetes.io/instance",   // Argo CD tracks by it, unless it is set up otherwise.
	"app.kubernetes.io/managed-by", // The operator manages the Job.
	"job-name", "controller-uid",   // The Job controller sets these.
	v1alpha1.LabelVeleroRestore, v1alpha1.LabelVeleroBackup,
}

// kueueDomain is the domain of Kueue. It reads its labels and annotations from the Job, and would queue a Pod that has them
// a second time.
const kueueDomain = "kueue.x-k8s.io"

// Inherited returns the labels or annotations of a JobRun that its Job gets, too; nil if there are none. What the template says
// wins over them.
func Inherited(ofRun map[string]string) map[string]string {
	return without(ofRun, func(name string) bool { return slices.Contains(ownNames, name) || isIn(name, ownDomains...) })
}

// inheritedByPods returns the labels or annotations of a JobRun that its Pods get, too.
func inheritedByPods(ofRun map[string]string) map[string]string {
	return without(Inherited(ofRun), func(name string) bool { return isIn(name, kueueDomain) })
}

// isIn reports whether a label or annotation has one of these domains, or a subdomain.
func isIn(name string, domains ...string) bool {
	domain, _, found := strings.Cut(name, "/")
	return found && slices.ContainsFunc(domains, func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) })
}

// without returns a copy of a map without the names that drop selects; nil if nothing is left.
func without(all map[string]string, drop func(name string) bool) map[string]string {
	kept := maps.Clone(all)
	maps.DeleteFunc(kept, func(name, _ string) bool { return drop(name) })
	if len(kept) == 0 {
		return nil
	}
	return kept
}
