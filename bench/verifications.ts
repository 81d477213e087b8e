import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * `node verifications.ts LIBRARY CASE TIMES`: verifies one evidence again and again with the library's file, as a
 * service does, and prints what it took. By itself, so that nothing else is in its heap.
 */

/** What a service has, and what it is shown. Bytes are base64. */
export interface VerificationCase {
  readonly evidence: string
  readonly nonce: string
  readonly now: string
  readonly ekAnchor: string
  readonly identityCertificate: string
}

/** What it took. */
export interface Verifications {
  readonly firstCpuMs: number
  readonly cpuMs: number
  /** By how much the heap grew while all of them were verified, after collecting what is garbage. */
  readonly grownKib: number
}

const [library = '', file = '', times = '0'] = process.argv.slice(2)
const { parseTrust, verifyEvidence }: typeof import('../src/verify/index.ts') = await import(
  library
)
const given: VerificationCase = JSON.parse(readFileSync(file, 'utf8'))
const bytesOf = (base64: string) => Buffer.from(base64, 'base64')
const evidence = bytesOf(given.evidence)
const options = {
  nonce: bytesOf(given.nonce),
  now: new Date(given.now),
  allowProvisional: true,
  trust: parseTrust({
    ekAnchors: [bytesOf(given.ekAnchor)],
    identityCertificate: bytesOf(given.identityCertificate),
  }),
}

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const WARM_UP = 1000

const firstCpuMs = cpuMsOfEach(1)
cpuMsOfEach(WARM_UP)
const before = heapBytes()
const cpuMs = cpuMsOfEach(Number(times))
const grownKib = Math.round((heapBytes() - before) / 1024)
const took: Verifications = { firstCpuMs, cpuMs, grownKib }
process.stdout.write(`${JSON.stringify(took)}\n`)

function cpuMsOfEach(count: number): number {
  const start = process.cpuUsage()
  for (let at = 0; at < count; at += 1) verifyEvidence(evidence, options)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000 / count
}

function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}
