# SPDX-License-Identifier: Apache-2.0
##@ Demo

# Where the demo runs: local is a control plane on this machine, current is the cluster of kubectl's current context.
CLUSTER ?= local
# The address at which the API server of CLUSTER=current reaches this machine.
ADDRESS ?= 127.0.0.1

# The demo has the flags of the manager: with others, Go would compile the packages that both use twice.
BUILD_DEMO = $(GO_BUILD) -o bin/demo ./hack/demo

.PHONY: demo demo-says
ifeq ($(CLUSTER),local)
demo-says:
	@echo "Telling the story of a few runs, on a control plane of its own: some 50 s. The first demo compiles the operator, its node and what is missing of Kubernetes: about 12 minutes on two cores when nothing is cached."

demo: demo-says k8s-found build localnode installed-curl ## Show JobRun at work on a local control plane. KEEP=1 leaves it running. CLUSTER=current uses kubectl's cluster.
	@$(BUILD_DEMO)
	@KUBEBUILDER_ASSETS=$(K8S_FOUND) bin/demo $(if $(KEEP),-keep)
else
demo-says:
	@echo "Telling the story of a few runs, in the cluster of kubectl's current context, and deleting them again. The first demo compiles the operator, and kubectl if PATH has none: some minutes when nothing is cached."

demo: demo-says kubectl-found build
	@$(BUILD_DEMO)
	@KUBEBUILDER_ASSETS=$(K8S_FOUND) bin/demo $(if $(KEEP),-keep) -cluster=$(CLUSTER) -address=$(ADDRESS)
endif
