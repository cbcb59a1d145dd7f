// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Triggers a job through the gateway, prints what happens to its run, and at its end the output. It exits with 0 if the run
// completed, and with 1 otherwise.
//
//   npm install eventsource@4 && npm install --save-dev typescript @types/node
//   npx tsc --strict --module nodenext --target es2023 trigger.ts
//   export GATEWAY=https://127.0.0.1:8444 NAMESPACE=team-a TOKEN=$(kubectl -n team-a create token ci)
//   node trigger.js sync '{"input": {"org": "acme"}, "concurrencyKey": "org_acme", "coalesce": "Skip"}'
//
// The first argument is the job, the second one the trigger. NODE_TLS_REJECT_UNAUTHORIZED=0 accepts any certificate.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { EventSource } from "eventsource";

/** The answer to a trigger. */
interface Answer {
  disposition: "Created" | "Coalesced" | "Idempotent";
  run: string;
  trigger: string;
}

/** An error of the gateway: a Status of Kubernetes. */
interface Status {
  code: number;
  message: string;
}

/** The data of an event. */
interface Data {
  run: { metadata: { name: string }; status?: { output?: unknown; error?: string } };
}

const { GATEWAY, NAMESPACE, TOKEN } = process.env;
const base = `${GATEWAY}/v1/namespaces/${NAMESPACE}`;
const authorization = { Authorization: `Bearer ${TOKEN}` };

/** Triggers a job. With an Idempotency-Key, a trigger whose answer was lost can be sent again: it executes once. */
async function trigger(job: string, body: string): Promise<Answer> {
  const headers = { ...authorization, "Content-Type": "application/json", "Idempotency-Key": randomUUID() };
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(`${base}/jobs/${job}/runs`, { method: "POST", headers, body });
      if (response.ok) return (await response.json()) as Answer;
      const { message } = (await response.json()) as Status;
      if (![429, 503, 504].includes(response.status) || attempt === 5) throw new RangeError(`refused: ${message}`);
      await sleep(1000 * Number(response.headers.get("Retry-After") ?? 1));
    } catch (lost) {
      if (lost instanceof RangeError || attempt === 5) throw lost;
      await sleep(1000);
    }
  }
}

/** Prints the events of a run until its end, and returns whether it completed. An EventSource comes back by itself. */
function follow(run: string): Promise<boolean> {
  const source = new EventSource(`${base}/events?run=${encodeURIComponent(run)}`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...authorization } }),
  });
  return new Promise<boolean>((resolve, reject) => {
    const ends = ["run:complete", "run:fail", "run:cancel", "run:delete"];
    for (const type of ["run:trigger", "run:coalesced", "run:leased", "run:progress", ...ends]) {
      source.addEventListener(type, (event) => {
        console.log(type);
        if (!ends.includes(type)) return;
        const { status } = (JSON.parse(event.data) as Data).run;
        const completed = type === "run:complete";
        console.log(completed ? JSON.stringify(status?.output ?? null) : (status?.error ?? type));
        resolve(completed);
      });
    }
    source.addEventListener("error", (event) => {
      if (source.readyState === EventSource.CLOSED) reject(new Error(`the stream was refused: ${event.message ?? event.code}`));
    });
  }).finally(() => source.close());
}

try {
  const [job = "", body = "{}"] = process.argv.slice(2);
  const answer = await trigger(job, body);
  console.log(answer.disposition, answer.run);
  process.exitCode = (await follow(answer.trigger)) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
