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

// measure prints the rates of a peer, each after a warm-up: executions with 20 in flight, and duplicates of a job that
// waits with 32 in flight.
export async function measure(execute, duplicate) {
  const size = Number(process.argv[3])
  await rate(100, 20, (i) => execute(`warm-up-${i}`))
  const throughput = await rate(size, 20, (i) => execute(`job-${i}`))
  await duplicate()
  const absorb = await rate(size, 32, duplicate)
  console.log(JSON.stringify({ throughput, absorb }))
  process.exit(0)
}
