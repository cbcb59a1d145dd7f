##@ Chaos

# What make chaos plays: make chaos SEED=7 DURATION=5m FAULTS=kill-leader,slow-webhook (or all, none, each).
SEED ?= 0
DURATION ?= 2m
FAULTS ?= all

CHAOS_MANAGER := bin/manager-chaos

.PHONY: chaos-binaries
chaos-binaries: k8s localnode
	go build -tags=chaos -o $(CHAOS_MANAGER) ./cmd

.PHONY: chaos
chaos: chaos-binaries ## Break everything around JobRun and check its promises: SEED=, DURATION=, FAULTS=.
	@go build -o bin/chaos ./hack/chaos
	@bin/chaos -seed=$(SEED) -duration=$(DURATION) -faults=$(FAULTS) -manager=$(CHAOS_MANAGER)
