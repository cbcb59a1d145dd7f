# SPDX-License-Identifier: Apache-2.0
##@ Demo

# Where the demo runs: local is a control plane on this machine, current is the cluster of kubectl's current context.
CLUSTER ?= local
# The address at which the API server of CLUSTER=current reaches this machine.
ADDRESS ?= 127.0.0.1

# The demo has the flags of the manager: with others, Go would compile the packages that both use twice.
BUILD_DEMO = $(GO_BUILD) -o bin/demo ./hack/demo

.PHONY: demo
ifeq ($(CLUSTER),local)
demo: k8s-found build localnode installed-curl ## Show JobRun at work on a local control plane. KEEP=1 leaves it running. CLUSTER=current uses kubectl's cluster.
	@$(BUILD_DEMO)
	@KUBEBUILDER_ASSETS=$(K8S_FOUND) bin/demo $(if $(KEEP),-keep)
else
demo: kubectl-found build
	@$(BUILD_DEMO)
	@KUBEBUILDER_ASSETS=$(K8S_FOUND) bin/demo $(if $(KEEP),-keep) -cluster=$(CLUSTER) -address=$(ADDRESS)
endif
