# SPDX-License-Identifier: Apache-2.0
##@ Chaos

# For example: make chaos SEED=7 DURATION=5m FAULTS=kill-manager,slow-webhook. FAULTS may also be all, none or each.
SEED ?= 0
DURATION ?= 2m
FAULTS ?= all

# With the tag chaos, one replica's clock can be ahead, and the grace of a reservation can be as short as the suite's
# API server's request timeout.
CHAOS_MANAGER := bin/manager-chaos

.PHONY: chaos-binaries
chaos-binaries: k8s localnode
	go build $(BUILD_FLAGS) -tags=chaos -o $(CHAOS_MANAGER) ./cmd

.PHONY: chaos
chaos: chaos-binaries ## Break everything around JobRun and check its promises. Set SEED, DURATION or FAULTS.
	@go build -o bin/chaos ./hack/chaos
	@bin/chaos -seed=$(SEED) -duration=$(DURATION) -faults=$(FAULTS) -manager=$(CHAOS_MANAGER)

.PHONY: soak
soak: chaos-binaries ## Send triggers for DURATION and plot the managers' memory, goroutines and queues to bin/soak.svg.
	@go build -o bin/soak ./hack/soak
	@bin/soak -seed=$(if $(filter 0,$(SEED)),1,$(SEED)) -duration=$(DURATION) -manager=$(CHAOS_MANAGER)
