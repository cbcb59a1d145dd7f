# SPDX-License-Identifier: Apache-2.0
##@ Benchmark

comma := ,

# Only the rows of these names need kine and the peers.
.PHONY: bench
bench: k8s build kwok $(patsubst gateway-peers,peers,$(filter kine peers gateway-peers,$(if $(ROWS),$(subst $(comma), ,$(ROWS)),kine peers))) ## Measure what JobRun costs. ROWS=create,writes selects rows, SCALE=0.1 makes the workloads smaller, ROUNDS=5, BEFORE=another manager.
	@go build -o bin/bench ./hack/bench
	@bin/bench $(if $(ROWS),-rows=$(ROWS)) $(if $(SCALE),-scale=$(SCALE)) $(if $(ROUNDS),-rounds=$(ROUNDS)) $(if $(BEFORE),-before=$(BEFORE)) \
		-json=bin/bench.json -markdown=bin/bench.md

.PHONY: peers
peers: ## Install what the benchmark compares JobRun with, from npm and Debian, if they can be had: bin/peers.
	@hack/bench/peers/install.sh bin/peers

# The stages that kwok plays for the node and its Pods. With them, the Pods of Jobs succeed at once.
KWOK_STAGES := node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease \
	pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete

.PHONY: kwok
kwok: ## Build the node of the benchmark, which executes nothing: bin/kwok (some 4 minutes when nothing is cached).
	@go -C hack/kwok build -trimpath -ldflags "-s -w" -o $(ROOT)/bin/kwok tool
	@stages=$$(go -C hack/kwok list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage; \
	for stage in $(KWOK_STAGES); do echo ---; cat $$stages/$$stage.yaml; done > bin/kwok-stages.yaml
