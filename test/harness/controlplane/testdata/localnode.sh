#!/bin/sh
# This replaces bin/localnode. It registers a node that is Ready, and runs nothing on it.
set -e
export KUBECONFIG="${1#--kubeconfig=}"
node="${2#--node-name=}"
kubectl="$5"
echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "'"$node"'"}}' | "$kubectl" create -f -
"$kubectl" patch node "$node" --subresource=status --type=merge -p '{"status": {
  "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}, "capacity": {"cpu": "1", "memory": "1Gi", "pods": "10"},
  "conditions": [{"type": "Ready", "status": "True", "reason": "Fake", "message": "Ready"}]}}'
sleep 1000
