# SPDX-License-Identifier: Apache-2.0
##@ Build and install

# These targets build the manager and its image, and install JobRun on the cluster that kubectl talks to.
DEPLOY_MK := $(abspath $(lastword $(MAKEFILE_LIST)))
DEPLOY_ROOT := $(abspath $(dir $(DEPLOY_MK))../..)
DEPLOY_REPOSITORY := ghcr.io/jobrun-dev/jobrun
DEPLOY_IMAGE := $(DEPLOY_REPOSITORY):v0.1.0# the image in config/manager

VERSION ?= $(or $(shell git -C $(DEPLOY_ROOT) describe --tags --always --dirty 2>/dev/null),dev)
# The image: that of VERSION if you name one, else that of the manifests.
IMG ?= $(if $(filter command environment,$(firstword $(origin VERSION))),$(DEPLOY_REPOSITORY):$(VERSION),$(DEPLOY_IMAGE))
# The namespace to install in.
NAMESPACE ?= jobrun-system
DIST ?= $(DEPLOY_ROOT)/dist
KUBECTL ?= kubectl
KUSTOMIZE ?= go -C $(DEPLOY_ROOT) tool -modfile=hack/tools/go.mod kustomize
# Extra flags of go build, e.g. -race.
BUILD_FLAGS ?=
CONTAINER_TOOL ?= docker
PLATFORMS ?= linux/amd64,linux/arm64

# hack/release makes the image and the files of a release. Its commands and flags: $(RELEASE) --help
RELEASE = go -C $(DEPLOY_ROOT)/hack/release run .
RELEASE_FLAGS = -root=$(DEPLOY_ROOT) -dist=$(abspath $(DIST)) -version=$(VERSION)

# Static binaries, as in the image. The race detector needs cgo.
GO_BUILD = CGO_ENABLED=$(if $(findstring -race,$(BUILD_FLAGS)),1,0) go -C $(DEPLOY_ROOT) build $(BUILD_FLAGS) \
	-trimpath -ldflags "-X main.version=$(VERSION)"

.PHONY: build
build: ## Build the manager, bin/manager, and the kubectl plugin, bin/kubectl-jobrun.
	$(GO_BUILD) -o bin/manager ./cmd
	$(GO_BUILD) -o bin/kubectl-jobrun ./cmd/kubectl-jobrun
	@ln -sf kubectl-jobrun $(DEPLOY_ROOT)/bin/kubectl_complete-jobrun # kubectl calls it to complete arguments.

.PHONY: build-plugin
build-plugin: ## Write the archives of the kubectl plugin for all platforms, and its krew manifest, to dist.
	@$(RELEASE) plugin $(RELEASE_FLAGS)

.PHONY: image
image: ## Write the image IMG for PLATFORMS to dist/jobrun-image.tar, an OCI archive. Needs no Docker.
	@$(RELEASE) image $(RELEASE_FLAGS) -image=$(IMG) -platforms=$(PLATFORMS)

.PHONY: image-push
image-push: ## Push dist/jobrun-image.tar as IMG, with the credentials of docker or podman.
	@$(RELEASE) push $(RELEASE_FLAGS) -image=$(IMG)

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine's platform, with Docker.
	$(CONTAINER_TOOL) build --build-arg VERSION=$(VERSION) --tag $(IMG) $(DEPLOY_ROOT)

.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for all PLATFORMS and push it, with Docker.
	$(CONTAINER_TOOL) buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --tag $(IMG) --push $(DEPLOY_ROOT)

# $(call write-installer,directory,file) builds the manifests of a directory, with the image IMG in the namespace NAMESPACE.
define write-installer
	@mkdir -p $(DIST)
	@$(KUSTOMIZE) build $(1) > $(DIST)/$(2).tmp
	@sed -e 's|image: $(DEPLOY_IMAGE)$$|image: $(IMG)|' -e 's|jobrun-system|$(NAMESPACE)|g' $(DIST)/$(2).tmp > $(DIST)/$(2)
	@rm $(DIST)/$(2).tmp
	@grep -q 'image: $(IMG)$$' $(DIST)/$(2) || { echo "$(1) has another image than $(DEPLOY_IMAGE)" >&2; exit 1; }
	@echo "wrote $(DIST)/$(2): kubectl apply --server-side -f it"
endef

.PHONY: build-installer
build-installer: ## Write dist/install.yaml, which installs JobRun with the image IMG in the namespace NAMESPACE.
	$(call write-installer,config/default,install.yaml)

.PHONY: build-installers
build-installers: build-installer ## Write dist/install.yaml, and the same with cert-manager and with the gateway.
	$(call write-installer,config/overlays/cert-manager,install-cert-manager.yaml)
	$(call write-installer,config/overlays/gateway,install-gateway.yaml)

.PHONY: release
release: ## Write everything of the release VERSION to dist: image, manifests, plugin, SBOMs, notes and checksums.
	@$(RELEASE) check $(RELEASE_FLAGS)
	@mkdir -p $(DIST)
	@$(RELEASE) image $(RELEASE_FLAGS) -image=$(IMG) -platforms=$(PLATFORMS) > $(DIST)/image.txt
	@$(MAKE) --no-print-directory -f $(DEPLOY_MK) build-installers IMG="$$(cat $(DIST)/image.txt)"
	@$(RELEASE) plugin $(RELEASE_FLAGS)
	@$(MAKE) --no-print-directory -f $(DEPLOY_MK) chart IMG="$$(cat $(DIST)/image.txt)"
	@$(RELEASE) notes $(RELEASE_FLAGS)
	@$(RELEASE) sums $(RELEASE_FLAGS)

# The chart's own version is that of Chart.yaml. A version that git describes is none for Helm. The image IMG becomes its default.
.PHONY: chart
chart: ## Write dist/jobrun-<version>.tgz, the Helm chart. VERSION=v1.2.3 sets the versions of the chart and of its image.
	@go -C $(DEPLOY_ROOT)/hack/helm run . -chart=$(DEPLOY_ROOT)/charts/jobrun -destination=$(abspath $(DIST)) \
		-version=$(if $(filter file,$(origin VERSION)),,$(VERSION)) -image=$(IMG) \
		-date=$(or $(SOURCE_DATE_EPOCH),$(shell git -C $(DEPLOY_ROOT) log -1 --format=%ct 2>/dev/null),0)

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
