# SPDX-License-Identifier: Apache-2.0
##@ Test

# Extra flags of go test, e.g. TEST_FLAGS=-race.
TEST_FLAGS ?=

# The levels of the tests are places in the tree. Tests beside the code need nothing but Go. The tests in these packages
# start an API server.
SERVER_PACKAGES := ./test/suites/... ./test/harness/... ./internal/testing/model
# The tests in these packages also start the operator's processes.
PROCESS_PACKAGES := ./test/conformance ./test/e2e ./test/upgrade ./test/chaos ./hack/demo
MUTANTS_PACKAGE := ./internal/testing/mutants
UNIT_PACKAGES = $(filter-out $(shell go list $(SERVER_PACKAGES) $(PROCESS_PACKAGES) $(MUTANTS_PACKAGE)),$(shell go list ./...))

.PHONY: test
test: test-unit test-property test-mutants test-fuzz test-helm test-suites test-conformance test-kine test-release test-e2e test-demo test-upgrade test-chaos ## Run all tests.

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go, in every module.
	go test -timeout=10m $(TEST_FLAGS) -skip='^TestProperty' $(UNIT_PACKAGES)
	go -C test/harness/localnode test -timeout=10m $(TEST_FLAGS) ./...

.PHONY: test-property
test-property: ## Run the property tests (TestProperty...): the protocol in thousands of schedules.
	go test -count=1 -timeout=30m $(TEST_FLAGS) -run='^TestProperty' $(UNIT_PACKAGES)

# How many schedules of each property make explore plays.
CHECKS ?= 20000

.PHONY: explore
explore: ## Play CHECKS new schedules of each property. test-property plays the same ones each time.
	go test -count=1 -timeout=24h $(TEST_FLAGS) -run='^TestProperty' ./internal/testing/simulation -rapid.seed=0 -rapid.checks=$(CHECKS)

.PHONY: test-mutants
test-mutants: ## Break each rule of the protocol in turn, and check that a test fails.
	go test -count=1 -timeout=45m $(TEST_FLAGS) $(MUTANTS_PACKAGE)

# What the tests of the gateway's streams and of its example in TypeScript use. The last package shows that all are there.
EVENTSOURCE := bin/eventsource/node_modules/typescript

.PHONY: eventsource
eventsource: $(EVENTSOURCE) ## Install an EventSource and TypeScript from npm: bin/eventsource.

$(EVENTSOURCE):
	@command -v npm >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends nodejs npm; }
	npm --prefix bin/eventsource install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error \
		eventsource@4.1.1 @types/node@20.19.0 typescript@5.9.3

# GitHub's own examples of the deliveries of its webhooks. A test sends all of them to a receiver.
WEBHOOKS_EXAMPLES := bin/webhooks-examples/node_modules/@octokit/webhooks-examples

.PHONY: webhooks-examples
webhooks-examples: $(WEBHOOKS_EXAMPLES) ## Install the examples of GitHub's webhooks from npm: bin/webhooks-examples.

$(WEBHOOKS_EXAMPLES):
	@command -v npm >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends nodejs npm; }
	npm --prefix bin/webhooks-examples install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error \
		@octokit/webhooks-examples@7.6.1

.PHONY: test-suites
test-suites: k8s installed-curl installed-python3 installed-openssl eventsource webhooks-examples ## Run the tests that start an API server.
	go test -count=1 -timeout=15m $(TEST_FLAGS) $(SERVER_PACKAGES)

# The store of the conformance tests: etcd or kine. All other tests run on etcd: the chaos suite, the soak and the benchmark
# read etcd's history and metrics.
STORE ?= etcd

# Helm's library is in a module of its own: hack/helm.
.PHONY: test-helm
test-helm: k8s build ## Render the Helm chart with several values, and install, upgrade and uninstall it.
	go -C hack/helm test -count=1 -timeout=15m $(TEST_FLAGS) ./...

.PHONY: test-conformance
test-conformance: k8s $(if $(filter kine,$(STORE)),kine) build localnode ## Run the conformance tables through the API and the Go client. STORE=kine runs it on kine, K8S=oldest on the oldest Kubernetes.
	STORE=$(STORE) go test -count=1 -timeout=15m $(TEST_FLAGS) -v ./test/conformance

.PHONY: test-kine
test-kine: ## Run the conformance tables on kine with SQLite, the store of k3s.
	@$(MAKE) --no-print-directory test-conformance STORE=kine

.PHONY: test-release
test-release: ## Build the image for this machine, look into it, and run the other tests of hack/release.
	go -C hack/release test -count=1 -timeout=20m $(TEST_FLAGS) ./...

.PHONY: test-e2e
test-e2e: k8s build localnode testworker installed-curl installed-jq installed-python3 ## Run the end-to-end tests: control plane, node and manager as processes.
	go test -count=1 -timeout=25m $(TEST_FLAGS) -v ./test/e2e
	go test -count=1 -timeout=10m $(TEST_FLAGS) ./hack/demo

# A demo that is left running, or that runs elsewhere, tests nothing.
.PHONY: test-demo
test-demo: ## Run the demo on a local control plane. It fails if a step does not show what it says.
	@$(MAKE) --no-print-directory demo CLUSTER=local KEEP=

.PHONY: test-upgrade
test-upgrade: k8s build localnode testworker ## Upgrade from an older commit under load, roll back and upgrade again. It needs the history of git.
	go test -count=1 -timeout=20m $(TEST_FLAGS) -v ./test/upgrade

# The tests run the examples of docs/ that call curl and jq, and those of examples/.
installed-%:
	@command -v $* >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends $*; }

.PHONY: test-chaos
test-chaos: chaos-binaries ## Run half a minute of faults, and the tests of the checker.
	go test -count=1 -timeout=15m $(TEST_FLAGS) -skip='^TestMutants$$' -v ./test/chaos

.PHONY: test-chaos-mutants
test-chaos-mutants: chaos-binaries ## Check that the chaos suite catches eight broken builds of the manager and the gateway (about 15 minutes).
	go test -count=1 -timeout=60m $(TEST_FLAGS) -run='^TestMutants$$' -v ./test/chaos

.PHONY: race
race: ## Run all tests, and the managers, with the race detector.
	$(MAKE) --no-print-directory test BUILD_FLAGS=-race TEST_FLAGS="-race -timeout=3h $(TEST_FLAGS)"

# All fuzz targets, as package:function.
FUZZ_TARGETS = $(shell grep -roE --include='*_test.go' --exclude-dir=hack '^func Fuzz\w+' . | sed 's|/[^/]*:func |:|' | sort)
FUZZTIME ?= 1m

# The first crash ends the loop. TEST_FLAGS are not passed on, because test-unit runs the seeds with them. By default Go
# spends up to a minute to shorten each input that reaches new code, and runs nothing else meanwhile. It gets a second.
define RUN_FUZZ
@for target in $(FUZZ_TARGETS); do \
	echo "fuzzing $$target for $(FUZZTIME)"; \
	go test -run='^$$' -fuzz="^$${target#*:}$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s "$${target%:*}"; \
done
endef

# A number of inputs, not a time: when the time is over, Go sometimes fails a target with "context deadline exceeded".
.PHONY: test-fuzz
test-fuzz: FUZZTIME := 3000x
test-fuzz: ## Fuzz each target with 3,000 inputs.
	$(RUN_FUZZ)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME.
	$(RUN_FUZZ)
