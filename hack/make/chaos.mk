# SPDX-License-Identifier: Apache-2.0
##@ Chaos

# What make chaos plays: make chaos SEED=7 DURATION=5m FAULTS=kill-leader,slow-webhook (or all, none, each).
SEED ?= 0
DURATION ?= 2m
FAULTS ?= all

# Its tag lets one replica's clock be ahead, and reservations end as soon as the suite's API server gives up.
CHAOS_MANAGER := bin/manager-chaos

.PHONY: chaos-binaries
chaos-binaries: k8s localnode
	go build $(BUILD_FLAGS) -tags=chaos -o $(CHAOS_MANAGER) ./cmd

.PHONY: chaos
chaos: chaos-binaries ## Break everything around JobRun and check its promises: SEED=, DURATION=, FAULTS=.
	@go build -o bin/chaos ./hack/chaos
	@bin/chaos -seed=$(SEED) -duration=$(DURATION) -faults=$(FAULTS) -manager=$(CHAOS_MANAGER)

.PHONY: soak
soak: chaos-binaries ## Let callers call for DURATION and draw the managers' memory, goroutines and queues: bin/soak.svg.
	@go build -o bin/soak ./hack/soak
	@bin/soak -seed=$(if $(filter 0,$(SEED)),1,$(SEED)) -duration=$(DURATION) -manager=$(CHAOS_MANAGER)
