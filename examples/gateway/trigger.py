#!/usr/bin/env python3
# Copyright The JobRun Authors.
# SPDX-License-Identifier: Apache-2.0
"""Triggers a job through the gateway, prints what happens to its run, and at its end the output. It needs Python 3.9 and its
standard library alone. It exits with 0 if the run completed, and with 1 otherwise.

    export GATEWAY=https://127.0.0.1:8444 NAMESPACE=team-a TOKEN=$(kubectl -n team-a create token ci)
    python3 examples/gateway/trigger.py sync '{"input": {"org": "acme"}, "concurrencyKey": "org_acme", "coalesce": "Skip"}'

The first argument is the job, the second one the trigger. INSECURE=1 accepts any certificate.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

ENDS = {"run:complete": 0, "run:fail": 1, "run:cancel": 1, "run:delete": 1}
IDLE = 40  # seconds; the gateway writes a comment each 15 s

context = ssl.create_default_context()
if os.environ.get("INSECURE"):
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def call(method, path, body=None, timeout=IDLE, **headers):
    """Sends a request and returns the open answer."""
    url = os.environ["GATEWAY"] + "/v1/namespaces/" + os.environ["NAMESPACE"] + path
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers.update({"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/json"})
    request = urllib.request.Request(url, method=method, data=body, headers=headers)
    return urllib.request.urlopen(request, timeout=timeout, context=context)


def trigger(job, body):
    """Triggers a job. With an Idempotency-Key, a trigger whose answer was lost can be sent again: it executes once."""
    key = str(uuid.uuid4())
    for attempt in range(5):
        try:
            with call("POST", f"/jobs/{job}/runs", body.encode(), Idempotency_Key=key) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            status = json.load(refused)
            if refused.code not in (429, 503, 504) or attempt == 4:
                raise SystemExit(f"refused: {status['message']}") from None
            time.sleep(int(refused.headers.get("Retry-After") or 1))
        except OSError as lost:  # no answer
            if attempt == 4:
                raise SystemExit(f"no answer: {lost}") from None
            time.sleep(1)


def events(run):
    """Yields the events of a run until its end: pairs of a type and data. It comes back after a lost connection."""
    last = ""
    while True:
        try:
            with call("GET", "/events?" + urllib.parse.urlencode({"run": run}), Last_Event_ID=last) as stream:
                if stream.status == 204:  # everything was told before
                    return
                kind = data = ""
                for line in stream:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        last = value
                    elif field == "event":
                        kind = value
                    elif field == "data":
                        data = value
                    elif not field and kind:
                        yield kind, json.loads(data)
                        kind = data = ""
        except urllib.error.HTTPError as refused:
            if refused.code not in (429, 503):
                raise SystemExit(f"refused: {json.load(refused)['message']}") from None
        except OSError as lost:
            print(f"lost the stream: {lost}", file=sys.stderr)
        time.sleep(1)


def main(job, body="{}"):
    answer = trigger(job, body)
    print(answer["disposition"], answer["run"], flush=True)
    for kind, data in events(answer["trigger"]):
        if kind == "error":
            raise SystemExit(f"refused: {data['message']}")
        print(kind, flush=True)
        if kind in ENDS:
            status = data["run"].get("status", {})
            print(json.dumps(status.get("output")) if kind == "run:complete" else status.get("error", kind))
            return ENDS[kind]
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
