# SPDX-License-Identifier: Apache-2.0
# The control plane that the demo and the tests run against (see hack/k8s and hack/kine).
# K8S=oldest selects the oldest version of Kubernetes that JobRun supports, which hack/k8s/oldest pins.
K8S ?= newest
ifeq ($(filter newest oldest,$(K8S)),)
$(error K8S must be newest or oldest, not "$(K8S)")
endif
# No path leads through bin/k8s, which a fresh clone does not have.
K8S_HACK := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../k8s)
K8S_MODULE := $(K8S_HACK)$(if $(filter oldest,$(K8S)),/oldest)
K8S_BUILT := $(abspath $(K8S_HACK)/../../bin/k8s$(if $(filter oldest,$(K8S)),-oldest))
# K8S_ASSETS is the directory of the binaries: bin/k8s or bin/k8s-oldest, unless KUBEBUILDER_ASSETS names another.
K8S_BINARIES := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl
export K8S_ASSETS := $(abspath $(or $(KUBEBUILDER_ASSETS),$(K8S_BUILT)))
export KUBEBUILDER_ASSETS := $(K8S_ASSETS)

.PHONY: k8s
ifeq ($(K8S_ASSETS),$(K8S_BUILT))
k8s: ## Build etcd and the Kubernetes binaries into bin/k8s (once, 7 to 15 minutes on two cores). K8S=oldest: into bin/k8s-oldest.
	@$(K8S_HACK)/build.sh $(K8S_MODULE) $(K8S_BUILT)
else
k8s:
	@echo "KUBEBUILDER_ASSETS is set: using the Kubernetes binaries in $(K8S_ASSETS)"
	@for binary in $(K8S_BINARIES); do \
		test -x "$(K8S_ASSETS)/$$binary" || { \
			echo "no $$binary there: add it, or unset KUBEBUILDER_ASSETS to have all of them built" >&2; exit 1; }; \
	done
endif

# The demo takes what is on this machine, and builds the rest. The tests do not, because they run on the pinned versions.
K8S_FOUND := $(K8S_BUILT)-found

.PHONY: k8s-found
k8s-found:
	@KUBEBUILDER_ASSETS=$(filter-out $(K8S_BUILT),$(K8S_ASSETS)) $(K8S_HACK)/assemble.sh $(K8S_MODULE) $(K8S_BUILT) $(K8S_FOUND)

.PHONY: kubectl-found
kubectl-found:
	@mkdir -p $(K8S_FOUND)
	@if path=$$(command -v kubectl); then ln -sfn "$$path" $(K8S_FOUND)/kubectl; \
		else $(K8S_HACK)/build.sh $(K8S_MODULE) $(K8S_BUILT) kubectl && ln -sfn $(K8S_BUILT)/kubectl $(K8S_FOUND)/kubectl; fi

# kine's SQLite is C, compiled by gcc. Without cgo, kine would use another SQLite than k3s does.
.PHONY: kine
kine: ## Build kine, the store of k3s, for test-conformance: bin/kine (some 3 minutes when nothing is cached).
	@CGO_ENABLED=1 go -C hack/kine build -trimpath -ldflags "-s -w" -o $(ROOT)/bin/kine tool
