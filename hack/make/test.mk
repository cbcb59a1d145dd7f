##@ Test

# Extra flags of go test, e.g. TEST_FLAGS=-race.
TEST_FLAGS ?=

# Packages whose tests start an API server, by what their test binaries link, those that start the operator's
# processes, too, and the others.
PROCESS_PACKAGES := /test/(e2e|conformance)$$
ALL_PACKAGES = $(shell go list ./... | grep -vE '$(PROCESS_PACKAGES)')
SERVER_PACKAGES = $(shell go list -test -f '{{.ImportPath}} {{join .Deps " "}}' ./... \
	| awk '/^[^ ]+\.test .*\/(envtest|test\/controlplane)( |$$)/ { sub(/\.test$$/, "", $$1); print $$1 }' | grep -vE '$(PROCESS_PACKAGES)')
PLAIN_PACKAGES = $(filter-out $(SERVER_PACKAGES),$(ALL_PACKAGES))

.PHONY: test
test: test-unit test-property test-envtest test-conformance test-e2e ## Run all tests.

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go, in every module.
	go test $(TEST_FLAGS) -timeout=10m -skip='^TestProperty' $(PLAIN_PACKAGES)
	go -C hack/localnode test $(TEST_FLAGS) -timeout=10m ./...

.PHONY: test-property
test-property: ## Run the property tests (TestProperty...).
	go test $(TEST_FLAGS) -count=1 -timeout=30m -run='^TestProperty' $(PLAIN_PACKAGES)

.PHONY: test-envtest
test-envtest: k8s ## Run the tests that start an API server.
	go test $(TEST_FLAGS) -count=1 -timeout=15m $(SERVER_PACKAGES)

.PHONY: test-conformance
test-conformance: k8s build localnode ## Run the table of what must hold, through every way to use JobRun.
	go test $(TEST_FLAGS) -count=1 -timeout=15m -v ./test/conformance

.PHONY: test-e2e
test-e2e: k8s build localnode testworker curl ## Run the end-to-end tests: control plane, node and manager as processes.
	go test $(TEST_FLAGS) -count=1 -timeout=25m -v ./test/e2e

# Of a container that sends heartbeats, as docs/workers.md has it.
.PHONY: curl
curl:
	@command -v curl >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends curl; }
