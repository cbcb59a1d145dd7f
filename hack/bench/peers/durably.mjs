// SPDX-License-Identifier: Apache-2.0

// Usage: node durably.mjs DATABASE-FILE EXECUTIONS DUPLICATES IN-FLIGHT
import { createDurably, defineJob } from '@coji/durably'
import { createClient } from '@libsql/client'
import { LibsqlDialect } from '@libsql/kysely-libsql'
import { z } from 'zod'
import { measure } from './rates.mjs'

const job = (name) => defineJob({ name, input: z.object({ org: z.string(), full: z.boolean(), since: z.string() }), run: async () => {} })
const dialect = () => new LibsqlDialect({ client: createClient({ url: `file:${process.argv[2]}` }) })
const durably = createDurably({ dialect: dialect(), maxConcurrentRuns: 20, pollingIntervalMs: 10, jobs: { executed: job('executed'), hot: job('hot') } })
await durably.migrate()
durably.start()
const input = { org: 'acme', full: false, since: '2026-01-01T00:00:00Z' }
let stopped = false

await measure(
  (name) => durably.jobs.executed.triggerAndWait(input, { concurrencyKey: name }),
  async () => {
    if (!stopped) {
      stopped = true // Nothing executes any more, so the hot run waits.
      await durably.stop()
    }
    return durably.jobs.hot.trigger(input, { concurrencyKey: 'hot', coalesce: 'skip' })
  },
)
