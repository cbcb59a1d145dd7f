// SPDX-License-Identifier: Apache-2.0

// rate runs task(i) for each i below total, so many at once, and returns how many were done per second.
export async function rate(total, inFlight, task) {
  let next = 0
  const begin = performance.now()
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < total) await task(next++)
  }))
  return total / ((performance.now() - begin) / 1000)
}

// measure prints the rates of a peer, each after a warm-up: executions with 20 in flight, duplicates of a job that waits, and, if
// the peer can, duplicates in batches of 100. EXECUTIONS may be 0.
export async function measure(execute, duplicate, duplicates) {
  const [executions, total, inFlight] = process.argv.slice(3).map(Number)
  const rates = { throughput: 0, absorb: 0, batch: 0 }
  if (executions > 0) {
    await rate(100, 20, (i) => execute(`warm-up-${i}`))
    rates.throughput = await rate(executions, 20, (i) => execute(`job-${i}`))
  }
  await duplicate()
  await rate(Math.min(total, 1000), inFlight, duplicate)
  rates.absorb = await rate(total, inFlight, duplicate)
  if (duplicates) {
    await rate(10, inFlight, () => duplicates(100))
    rates.batch = 100 * await rate(Math.ceil(total / 20), inFlight, () => duplicates(100))
  }
  console.log(JSON.stringify(rates))
  process.exit(0)
}
