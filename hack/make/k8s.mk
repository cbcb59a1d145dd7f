# SPDX-License-Identifier: Apache-2.0
# The control plane that the demo and the tests run against (see hack/k8s and hack/kine).
# K8S_ASSETS is the directory of its binaries: bin/k8s, unless KUBEBUILDER_ASSETS names another.
K8S_BUILT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../../bin/k8s)
# This path does not lead through bin/k8s, which a fresh clone does not have.
K8S_BUILD := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../k8s/build.sh)
K8S_BINARIES := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl
export K8S_ASSETS := $(abspath $(or $(KUBEBUILDER_ASSETS),$(K8S_BUILT)))
export KUBEBUILDER_ASSETS := $(K8S_ASSETS)

.PHONY: k8s
ifeq ($(K8S_ASSETS),$(K8S_BUILT))
k8s: ## Build etcd and the Kubernetes binaries into bin/k8s (once, about 7 minutes).
	@$(K8S_BUILD) $(K8S_BUILT)
else
k8s:
	@echo "KUBEBUILDER_ASSETS is set: using the Kubernetes binaries in $(K8S_ASSETS)"
	@for binary in $(K8S_BINARIES); do \
		test -x "$(K8S_ASSETS)/$$binary" || { \
			echo "no $$binary there: add it, or unset KUBEBUILDER_ASSETS to have all of them built" >&2; exit 1; }; \
	done
endif

# kine's SQLite is C, compiled by gcc. Without cgo, kine would use another SQLite than k3s does.
.PHONY: kine
kine: ## Build kine, the store of k3s, for test-conformance: bin/kine (some 3 minutes when nothing is cached).
	@CGO_ENABLED=1 go -C hack/kine build -trimpath -ldflags "-s -w" -o $(ROOT)/bin/kine tool
