#!/usr/bin/env bash
# Copyright The JobRun Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Triggers a job through the gateway with curl, waits until its run has ended, and prints the answer. Exits with 0 if the run
# completed, 1 if it did not, and 22 if the trigger was refused.
#
#   export GATEWAY=https://127.0.0.1:8444 NAMESPACE=team-a TOKEN=$(kubectl -n team-a create token ci)
#   examples/gateway/trigger.sh sync '{"input": {"org": "acme"}, "concurrencyKey": "org_acme", "coalesce": "Skip"}'
#
# The first argument is the job, the second one the trigger. INSECURE=1 accepts any certificate.
set -euo pipefail

job=$1
trigger=${2:-'{}'}
# With this key, the same trigger can be sent again and again: it executes once.
key=$(cat /proc/sys/kernel/random/uuid)

while true; do
  # --retry tries again after 429, 503 and 504, when Retry-After says.
  answer=$(curl --silent --show-error --fail-with-body ${INSECURE:+--insecure} --retry 5 \
    --header "Authorization: Bearer $TOKEN" --header 'Content-Type: application/json' --header "Idempotency-Key: $key" \
    --data "$trigger" "$GATEWAY/v1/namespaces/$NAMESPACE/jobs/$job/runs?wait=60s") || { code=$?; echo "$answer" >&2; exit "$code"; }
  case $answer in
    *'"phase":"Completed"'*) echo "$answer"; exit 0 ;;
    *'"phase":"Failed"'* | *'"phase":"Cancelled"'*) echo "$answer" >&2; exit 1 ;;
  esac
done
