# SPDX-License-Identifier: Apache-2.0
##@ Develop

# The exponent in the schema of a quantity, for sed: of any length, Go may read it for hours.
EXPONENT := (\[eE\](\\+|-)?((\[0-9\]+(\\\.\[0-9\]\*)?)|(\\\.\[0-9\]+)))

.PHONY: generate
generate: ## Generate deep copies, CRDs and docs/api.md from api/.
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	$(TOOL) controller-gen crd:generateEmbeddedObjectMeta=true paths=./api/... output:crd:dir=config/crd/bases
	sed -i 's/$(EXPONENT)/([eE](\\+|-)?[0-9]{1,2})/' config/crd/bases/batch.jobrun.dev_jobruns.yaml
	mkdir -p docs
	$(TOOL) crd-ref-docs --log-level=ERROR --config=hack/tools/crd-ref-docs.yaml --source-path=api \
		--renderer=markdown --output-path=docs/api.md

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code.
	$(GOLANGCI_LINT) fmt

.PHONY: tidy
tidy: ## Tidy every go.mod.
	@for module in $(MODULES); do echo "go mod tidy in $$module"; go -C "$$module" mod tidy; done
