# SPDX-License-Identifier: Apache-2.0
##@ Demo

.PHONY: demo
demo: k8s build localnode ## Show JobRun at work on a control plane of its own; KEEP=1 leaves it up.
	@go build -o bin/demo ./hack/demo
	@bin/demo $(if $(KEEP),-keep)
