# SPDX-License-Identifier: Apache-2.0
##@ Build and install

# These targets build the manager and its image, and install JobRun on the cluster that kubectl talks to.
DEPLOY_ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../..)
DEPLOY_IMAGE := ghcr.io/jobrun-dev/jobrun:v0.1.0 # the image in config/manager

IMG ?= $(strip $(DEPLOY_IMAGE))
# The namespace to install in.
NAMESPACE ?= jobrun-system
VERSION ?= $(or $(shell git -C $(DEPLOY_ROOT) describe --tags --always --dirty 2>/dev/null),dev)
DIST ?= $(DEPLOY_ROOT)/dist
KUBECTL ?= kubectl
KUSTOMIZE ?= go -C $(DEPLOY_ROOT) tool -modfile=hack/tools/go.mod kustomize
# Extra flags of go build, e.g. -race.
BUILD_FLAGS ?=
CONTAINER_TOOL ?= docker
PLATFORMS ?= linux/amd64,linux/arm64,linux/ppc64le,linux/s390x

.PHONY: build
build: ## Build the manager, bin/manager, and the kubectl plugin, bin/kubectl-jobrun.
	go -C $(DEPLOY_ROOT) build $(BUILD_FLAGS) -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/manager ./cmd
	go -C $(DEPLOY_ROOT) build $(BUILD_FLAGS) -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/kubectl-jobrun ./cmd/kubectl-jobrun
	@ln -sf kubectl-jobrun $(DEPLOY_ROOT)/bin/kubectl_complete-jobrun # kubectl calls it to complete arguments.

.PHONY: build-plugin
build-plugin: ## Write the archives of the kubectl plugin for all platforms, and its krew manifest, to dist.
	@$(DEPLOY_ROOT)/hack/krew/release.sh $(VERSION) $(DIST)

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine's platform.
	$(CONTAINER_TOOL) build --build-arg VERSION=$(VERSION) --tag $(IMG) $(DEPLOY_ROOT)

.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for all PLATFORMS and push it.
	$(CONTAINER_TOOL) buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --tag $(IMG) --push $(DEPLOY_ROOT)

.PHONY: build-installer
build-installer: ## Write dist/install.yaml, which installs JobRun with the image IMG in the namespace NAMESPACE.
	@mkdir -p $(DIST)
	@$(KUSTOMIZE) build config/default > $(DIST)/install.yaml.tmp
	@sed -e 's|image: $(strip $(DEPLOY_IMAGE))$$|image: $(IMG)|' -e 's|jobrun-system|$(NAMESPACE)|g' \
		$(DIST)/install.yaml.tmp > $(DIST)/install.yaml
	@rm $(DIST)/install.yaml.tmp
	@echo "wrote $(DIST)/install.yaml: kubectl apply --server-side -f it"

.PHONY: install
install: ## Install only the CRDs.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: ## Delete the CRDs and all JobRuns.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: build-installer ## Install JobRun with the image IMG in the namespace NAMESPACE.
	$(KUBECTL) apply --server-side -f $(DIST)/install.yaml

.PHONY: undeploy
undeploy: build-installer ## Delete everything that deploy installed, and all JobRuns.
	$(KUBECTL) delete --ignore-not-found -f $(DIST)/install.yaml
