#!/usr/bin/env python3
# Copyright The JobRun Authors.
# SPDX-License-Identifier: Apache-2.0
"""A worker of JobRun in Python, with the standard library alone. It executes the runs of one job, one at a time.

Replace execute() by your work. The steps are those of docs/workers.md: find, claim, renew, progress, complete or fail, give
back. At SIGTERM or Ctrl-C the worker stops its work, gives the run back, and ends. A second signal does not end it sooner.

    kubectl proxy &                                       # any kubeconfig with the Role of docs/workers.md
    python3 examples/worker.py --job report --server http://127.0.0.1:8001 --namespace default

In a Pod leave --server and --namespace out: the worker then uses the Pod's ServiceAccount.
"""

import argparse
import datetime
import http.client
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CALL_TIMEOUT = 10  # seconds for the answer of one request
DEFAULT_DURATION = 30  # seconds, for runs without leaseDurationSeconds
FINAL = ("Completed", "Failed", "Cancelled")


def execute(run):
    """Does the work of a run. Returns the output, any JSON value. An exception fails the run with its text."""
    rows = (run.input or {}).get("rows", 10)
    if rows < 0:
        raise ValueError("rows must not be negative")
    for row in range(rows):
        run.sleep(0.1)  # is where the work would be; raises Stopped when it must end
        run.progress(row + 1, rows, "rows")
    return {"rows": rows}


class Stopped(Exception):
    """The run must not be executed any more: its lease is lost, it was cancelled, or the worker shuts down."""


class Unanswered(Exception):
    """Whether the request took effect is not known."""


class API:
    """Sends requests about the JobRuns of one namespace."""

    def __init__(self, server, namespace, account):
        self.account = account
        self.context = None
        if server.startswith("https:"):
            self.context = ssl.create_default_context(cafile=account / "ca.crt")
        self.runs = f"{server.rstrip('/')}/apis/batch.jobrun.dev/v1alpha1/namespaces/{namespace}/jobruns"

    def open(self, method, path, body=None, kind="application/json", timeout=CALL_TIMEOUT):
        request = urllib.request.Request(self.runs + path, method=method)
        if self.context:  # Kubernetes renews the token in its file.
            request.add_header("Authorization", "Bearer " + (self.account / "token").read_text().strip())
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        return urllib.request.urlopen(request, timeout=timeout, context=self.context)

    def call(self, method, path, body=None, kind="application/json"):
        """Returns the code and the answer. Raises Unanswered if the request may be sent again."""
        try:
            with self.open(method, path, body, kind) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            too_large = "request is too large" in text or "message larger than max" in text
            if error.code == 429 or error.code >= 500 and not too_large:
                raise Unanswered(text) from error
            return 413 if too_large else error.code, text
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unanswered(str(error)) from error

    def watch(self, selector, version, seconds):
        """Yields the events of a watch, for about so many seconds."""
        query = urllib.parse.urlencode(
            {"watch": 1, "fieldSelector": selector, "resourceVersion": version, "timeoutSeconds": max(round(seconds), 1)}
        )
        try:
            with self.open("GET", "?" + query, timeout=max(seconds, 0.1)) as response:
                for line in response:
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError):
            return


class Run:
    """A run that this worker holds. A thread of its own renews the lease, and sees when the run must end."""

    def __init__(self, api, claimed, sent):
        self.api, self.held = api, claimed
        self.name = claimed["metadata"]["name"]
        self.input = claimed["spec"].get("input")
        self.lease = claimed["status"]["lease"]
        self.generation = self.lease["generation"]  # the fencing token of the run
        self.key_version = self.lease.get("keyVersion")  # the fencing token of the key; None without a key
        self.duration = self.lease["durationSeconds"]
        self.over = sent + self.duration  # by a clock that is never set
        self.stop = threading.Event()
        self.lost = False
        self.reporting = False  # what becomes of the run is decided; the lease is still renewed
        self.done = False
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def keep(self):
        """Renews the lease each third of its duration, and watches the run in between."""
        while not self.lost and not self.done:
            began = time.monotonic()
            try:
                code, answer = self.patch({"lease": {"generation": self.generation, "renewTime": now()}})
                if code != 200:
                    return self.lose(f"its lease is gone ({code})")
                self.over = began + self.duration
                self.look(answer)
                self.wait(answer, began + self.duration / 3)
            except Unanswered:
                time.sleep(min(1, self.duration / 10))
            if time.monotonic() >= self.over:
                self.lose("its lease could not be renewed in time")

    def wait(self, run, until):
        """Watches the run until a time."""
        while not self.lost and not self.done and (left := until - time.monotonic()) > 0:
            version = run["metadata"]["resourceVersion"]
            for event in self.api.watch("metadata.name=" + self.name, version, left):
                if event["type"] == "ERROR":
                    break
                run = event["object"]
                self.look(run, event["type"] == "DELETED")
                if self.lost or time.monotonic() >= until:
                    return
            time.sleep(0.05)  # a connection that is refused must not make this loop busy

    def look(self, run, deleted=False):
        """Stops the work if the run is no longer this worker's."""
        status = run.get("status", {})
        lease = status.get("lease", {})
        if deleted or run["metadata"]["uid"] != self.held["metadata"]["uid"]:
            self.lose("it was deleted")
        elif run["spec"].get("cancel"):
            self.lose("it was cancelled")
        elif status.get("phase") in FINAL:
            self.lose("it has ended")
        elif (lease.get("generation"), lease.get("holderIdentity")) != (self.generation, self.lease["holderIdentity"]):
            self.lose("another holder has it")

    def lose(self, why):
        if not self.reporting:
            log(f"{self.name}: {why}")
            self.lost = True
            self.stop.set()

    def sleep(self, seconds):
        """Sleeps. Raises Stopped when the work must end."""
        if self.stop.wait(seconds):
            raise Stopped

    def progress(self, current, total, message):
        """Reports progress. A report without an answer is not repeated: the next one replaces it."""
        if self.stop.is_set():
            raise Stopped
        try:
            code, answer = self.patch(
                {"progress": {"generation": self.generation, "current": current, "total": total, "message": message}}
            )
        except Unanswered:
            return
        if code == 200:
            self.look(answer)
        else:
            log(f"{self.name}: progress was refused ({code}): {answer}")

    def patch(self, status):
        return self.api.call("PATCH", f"/{self.name}/status", {"status": status}, "application/merge-patch+json")

    def complete(self, output):
        code = self.report({"phase": "Completed", "finishedGeneration": self.generation, "output": output})
        if code in (413, 422) and self.is_mine():
            self.fail("the output is too large, or has too many levels")

    def fail(self, error):
        self.report({"phase": "Failed", "finishedGeneration": self.generation, "error": error[:1024]})

    def give_back(self):
        """Raises the generation, which fences this worker. The run waits again, and no attempt is counted."""
        lease = {"generation": self.generation + 1}
        if self.key_version:
            lease["keyVersion"] = self.key_version
        self.report({"lease": lease})

    def report(self, status):
        """Writes to the status until that is answered, or the lease is over. Returns the code; None if there is none."""
        # A JSON patch keeps every null of an output. The test lets no late request end the lease of another holder.
        patch = [{"op": "test", "path": "/status/lease/generation", "value": self.generation}]
        patch += [{"op": "add", "path": "/status/" + name, "value": value} for name, value in status.items()]
        pause = 0.2
        self.reporting = True
        while not self.lost and time.monotonic() < self.over:
            try:
                code, answer = self.api.call("PATCH", f"/{self.name}/status", patch, "application/json-patch+json")
            except Unanswered as error:
                log(f"{self.name}: no answer yet: {error}")
                time.sleep(pause)
                pause = min(2 * pause, 5)
                continue
            log(f"{self.name}: {'reported' if code == 200 else f'the report was refused ({code}): {answer}'}")
            return code
        return None

    def is_mine(self):
        """Reports whether the run is still leased under this generation."""
        try:
            code, run = self.api.call("GET", "/" + self.name)
        except Unanswered:
            return False
        status = run["status"] if code == 200 else {}
        return status.get("phase") == "Leased" and status["lease"]["generation"] == self.generation


class Worker:
    def __init__(self, api, job, identity):
        self.api, self.job, self.identity = api, job, identity
        self.shutdown = False
        self.busy = False  # from before a claim until its run is reported
        self.run = None

    def on_signal(self, *_):
        self.shutdown = True
        if self.run:
            self.run.stop.set()
        if not self.busy:
            sys.exit(0)

    def work(self):
        """Executes runs until a signal."""
        pause = 1
        while not self.shutdown:
            runs, version = self.find()
            self.busy = True
            claimed = next((run for run in map(self.claim, runs) if run), None)
            if claimed:
                self.hold(claimed)
                pause = 1
            self.busy = False
            if not claimed and not self.shutdown:
                pause = self.await_change(version, pause if runs else 300)

    def selector(self):
        return f"spec.jobName={self.job},status.phase=Pending"

    def find(self):
        """Returns the runs that wait for a worker, the oldest first, and the version of the list."""
        while True:
            try:
                code, answer = self.api.call("GET", "?" + urllib.parse.urlencode({"fieldSelector": self.selector()}))
            except Unanswered as error:
                log(f"cannot list the runs: {error}")
                time.sleep(1)
                continue
            if code != 200:
                sys.exit(f"cannot list the runs ({code}): {answer}")
            runs = [r for r in answer["items"] if not r["spec"].get("template") and not r["spec"].get("cancel")]
            runs.sort(key=lambda r: (r["metadata"]["creationTimestamp"], r["metadata"]["name"]))
            return runs, answer["metadata"]["resourceVersion"]

    def await_change(self, version, pause):
        """Waits until a run begins or ceases to wait, or for a pause. Returns the next pause, which grows."""
        for event in self.api.watch(self.selector(), version, pause):
            if event["type"] != "ERROR":
                return 1
        time.sleep(0.05)
        return min(2 * pause, 30)

    def claim(self, run):
        """Claims a run, and returns it. Returns None if another worker was faster, or if another run has the key."""
        if self.shutdown:
            return None
        stamp, sent = now(), time.monotonic()
        duration = run["spec"].get("leaseDurationSeconds") or DEFAULT_DURATION
        generation = run["status"].get("lease", {}).get("generation", 0) + 1
        run["status"].pop("error", None)  # the operator may have written that no worker claims the run
        run["status"].update(phase="Leased", lease={
            "holderIdentity": self.identity, "generation": generation, "durationSeconds": duration,
            "acquireTime": stamp, "renewTime": stamp,
        })
        path = "/" + run["metadata"]["name"]
        while time.monotonic() < sent + duration:
            try:  # A PUT of the version that was read: at most one of all claims is stored.
                code, answer = self.api.call("PUT", path + "/status", run)
                if code == 409:  # perhaps this claim was stored before, and its answer was lost
                    code, answer = self.api.call("GET", path)
                    lease = answer["status"].get("lease", {}) if code == 200 else {}
                    mine = all(lease.get(k) == run["status"]["lease"][k] for k in ("holderIdentity", "generation", "acquireTime"))
                    code = 200 if mine and answer["status"]["phase"] == "Leased" else 409
            except Unanswered as error:
                log(f"claim of {path[1:]}: no answer yet: {error}")
                time.sleep(0.5)
                continue
            return Run(self.api, answer, sent) if code == 200 else None
        return None

    def hold(self, run):
        """Executes a run that was claimed, and reports what became of it."""
        self.run = run
        log(f"{run.name}: claimed, generation {run.generation}, key version {run.key_version}")
        try:
            if self.shutdown:
                raise Stopped
            output = execute(run)
        except Stopped:
            if not run.lost:
                run.give_back()
        except Exception as error:  # whatever the work raises fails the run
            run.fail(f"{type(error).__name__}: {error}")
        else:
            run.complete(output)
        run.done, self.run = True, None


def now():
    """The time in the form that a lease takes: exactly six digits of a second's fraction."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def log(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Executes the runs of a job that have no template.")
    parser.add_argument("--job", required=True, help="the jobName of the runs")
    parser.add_argument("--server", help="the API server, e.g. the address of `kubectl proxy`; default: that of the Pod")
    parser.add_argument("--namespace", help="default: that of the Pod")
    parser.add_argument("--account", default=ACCOUNT, type=pathlib.Path, help="the directory with token, ca.crt and namespace")
    parser.add_argument("--name", help="the holder of the leases, this process's own; default: the host and random digits")
    o = parser.parse_args()
    if not o.server and "KUBERNETES_SERVICE_HOST" not in os.environ:
        parser.error("--server is needed outside of a Pod: start `kubectl proxy`, and give its address")
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if ":" in host:
        host = f"[{host}]"
    server = o.server or f"https://{host}:{port}"
    namespace = o.namespace or (o.account / "namespace").read_text().strip()
    worker = Worker(API(server, namespace, o.account), o.job, o.name or f"{socket.gethostname()}-{secrets.token_hex(5)}")
    signal.signal(signal.SIGTERM, worker.on_signal)
    signal.signal(signal.SIGINT, worker.on_signal)
    log(f"{worker.identity} waits for runs of job {o.job} in namespace {namespace}")
    worker.work()


if __name__ == "__main__":
    main()
