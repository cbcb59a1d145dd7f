# SPDX-License-Identifier: Apache-2.0
##@ Check

$(GOLANGCI_LINT): hack/tools/lint/go.mod hack/tools/lint/go.sum
	@echo "building golangci-lint (some 3 minutes when nothing is cached)"
	go -C hack/tools/lint build -o $@ tool

.PHONY: verify
verify: verify-generated verify-tidy vet lint ## Check everything that needs no test: generated files, format, go.mod, vet, lint.

# For a subshell: prints the name of a git tree with all files of the working tree, including uncommitted and
# untracked ones.
SNAPSHOT = index=$$(mktemp -d) && trap 'rm -rf "$$index"' EXIT && export GIT_INDEX_FILE=$$index/index && git add --all && git write-tree

.PHONY: verify-generated
verify-generated: ## Check that `make generate fmt` changes nothing.
	@before=$$($(SNAPSHOT)); \
	$(MAKE) --no-print-directory generate fmt; \
	after=$$($(SNAPSHOT)); \
	git --no-pager diff --exit-code "$$before" "$$after" || \
		{ echo "the above was not generated or not formatted: commit what \`make generate fmt\` made of it" >&2; exit 1; }

.PHONY: verify-tidy
verify-tidy: ## Check that every go.mod is tidy.
	@for module in $(MODULES); do \
		echo "go mod tidy -diff in $$module"; \
		go -C "$$module" mod tidy -diff || { echo "$$module/go.mod is not tidy: run \`make tidy\`" >&2; exit 1; }; \
	done

.PHONY: vet
vet: ## Run go vet in every module.
	@for module in $(CODE_MODULES); do echo "go vet in $$module"; go -C "$$module" vet ./...; done

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint in every module, and kube-api-linter on api/.
	@for module in $(CODE_MODULES); do echo "golangci-lint in $$module"; (cd "$$module"; $(GOLANGCI_LINT) run); done
	@echo "kube-api-linter in api"
	@$(GOLANGCI_LINT) run --config .golangci-kal.yml ./api/...
