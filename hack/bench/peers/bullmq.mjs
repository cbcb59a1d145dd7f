// SPDX-License-Identifier: Apache-2.0

// Usage: node bullmq.mjs PORT-OF-REDIS EXECUTIONS DUPLICATES IN-FLIGHT
import { Queue, QueueEvents, Worker } from 'bullmq'
import { measure } from './rates.mjs'

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null }
const queue = new Queue('executed', { connection })
const hot = new Queue('hot', { connection }) // Nothing takes jobs from it, so its job waits.
const events = new QueueEvents('executed', { connection })
const worker = new Worker('executed', async () => null, { connection, concurrency: 20 })
queue.setMaxListeners(0) // Each wait for a job is a listener.
await Promise.all([events.waitUntilReady(), worker.waitUntilReady()])
const input = { org: 'acme', full: false, since: '2026-01-01T00:00:00Z' }

await measure(
  async (name) => (await queue.add(name, input)).waitUntilFinished(events),
  () => hot.add('hot', input, { deduplication: { id: 'hot' } }),
  (size) => hot.addBulk(Array.from({ length: size }, () => ({ name: 'hot', data: input, opts: { deduplication: { id: 'hot' } } }))),
)
