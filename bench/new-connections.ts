import { connect } from 'node:net'
import type { Loaded } from './load.ts'

/** `SOCKET REQUEST CONNECTIONS SECONDS REQUESTS`: a new connection for each, so many at a time. Prints a Loaded. */
const [socket = '', text = '', atOnce = '1', seconds = '1', most = '1'] = process.argv.slice(2)
const startAtMs = performance.now()
const endAtMs = startAtMs + Number(seconds) * 1000
let left = Number(most)
const durationsMs: number[] = []
const statuses: Record<string, number> = {}

/** From connect to the whole answer, whose end is that of the connection. */
function once(): Promise<void> {
  return new Promise((resolve) => {
    const startedAtMs = performance.now()
    const connection = connect(socket)
    let status = 'none'
    connection.once('data', (bytes: Buffer) => {
      status = `${bytes.toString('latin1', 9, 10)}xx`
    })
    connection.on('data', () => undefined)
    connection.on('error', () => undefined)
    connection.on('close', () => {
      durationsMs.push(performance.now() - startedAtMs)
      statuses[status] = (statuses[status] ?? 0) + 1
      resolve()
    })
    connection.write(text)
  })
}

async function again(): Promise<void> {
  while (performance.now() < endAtMs && left > 0) {
    left -= 1
    await once()
  }
}

await Promise.all(Array.from({ length: Number(atOnce) }, again))
durationsMs.sort((one, other) => one - other)
const quantile = (part: number) => durationsMs[Math.floor(durationsMs.length * part)] ?? Number.NaN
const loaded: Loaded = {
  requests: durationsMs.length,
  statuses,
  perSecond: durationsMs.length / ((performance.now() - startAtMs) / 1000),
  p50Ms: quantile(0.5),
  p99Ms: quantile(0.99),
}
process.stdout.write(JSON.stringify(loaded))
