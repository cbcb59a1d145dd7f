# SPDX-License-Identifier: Apache-2.0
##@ Demo

.PHONY: demo
demo: k8s build localnode ## Show JobRun at work on a local control plane. KEEP=1 leaves it running.
	@go build -o bin/demo ./hack/demo
	@bin/demo $(if $(KEEP),-keep)
