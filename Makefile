# SPDX-License-Identifier: Apache-2.0
SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# One target runs at a time: generation and checks share the working tree, and tests share the machine.
.NOTPARALLEL:

ROOT := $(CURDIR)
# All Go modules of the repository, and the modules that have code.
MODULES := $(sort $(patsubst %/go.mod,%,$(patsubst go.mod,./go.mod,$(wildcard go.mod hack/*/go.mod hack/*/*/go.mod test/harness/*/go.mod))))
CODE_MODULES := . hack/helm hack/release test/harness/localnode

# hack/tools/go.mod pins these tools. The Go command builds and caches them.
TOOL := go tool -modfile=$(ROOT)/hack/tools/go.mod
# golangci-lint includes kube-api-linter. It has its own module, because it has hundreds of dependencies.
GOLANGCI_LINT := $(ROOT)/bin/tools/golangci-lint

##@ General

.PHONY: help
help: ## Display this help.
	@awk 'BEGIN {FS = ":.*##"; printf "\nUsage:\n  make \033[36m<target>\033[0m\n"} \
		/^[a-zA-Z_0-9.\/-]+:.*?##/ { printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2 } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ Build

.PHONY: localnode
localnode: ## Build the node of the demo and the tests: bin/localnode.
	CGO_ENABLED=0 go -C test/harness/localnode build -trimpath -o $(ROOT)/bin/localnode .

.PHONY: testworker
testworker: ## Build the external worker of the tests: bin/testworker.
	go build -o bin/testworker ./test/harness/testworker

.PHONY: clean
clean: ## Remove what was built, the Kubernetes binaries included.
	rm -rf bin dist

include hack/make/*.mk
