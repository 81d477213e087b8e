import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openTpm } from '../src/tpm.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { VALUES } from './values.ts'

/** What is left in a process of key material that its owner has wiped. */

let swtpm: Swtpm

beforeAll(async () => {
  swtpm = await startSwtpm()
})

afterAll(() => swtpm.stop())

/** Holds the value until told to wipe it. ESAPI's own buffer has the next response after that. */
const CHILD = `
const { openTpm } = await import(${JSON.stringify(import.meta.resolve('../src/tpm.ts'))})
const { VALUES } = await import(${JSON.stringify(import.meta.resolve('./values.ts'))})
const [, tcti, what] = process.argv
const tpm = await openTpm({ tcti })
const value = await tpm.sequence(async (c) => {
  const value = await VALUES[what](c)
  const TPM_CAP_ALGS = 0
  await c.getCapability(TPM_CAP_ALGS, 0, 64)
  return value
})
process.stdout.write('held')
process.stdin.once('data', () => {
  value.fill(0)
  process.stdout.write('wiped')
})
`

/** How often the bytes are in the memory of a process that may be written (proc(5), /proc/PID/mem). */
function timesInMemory(pid: number, bytes: Buffer): number {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  let times = 0
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const [, first, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
    if (first === undefined || end === undefined || /\[v/.test(line)) continue
    times += timesIn(regionOf(memory, Number.parseInt(first, 16), Number.parseInt(end, 16)), bytes)
  }
  closeSync(memory)
  return times
}

function regionOf(memory: number, first: number, end: number): Buffer {
  const region = Buffer.alloc(Math.min(end - first, 1 << 29))
  try {
    return region.subarray(0, readSync(memory, region, 0, region.length, first))
  } catch {
    return Buffer.alloc(0)
  }
}

function timesIn(region: Buffer, bytes: Buffer): number {
  let times = 0
  for (let at = region.indexOf(bytes); at >= 0; at = region.indexOf(bytes, at + 1)) times += 1
  return times
}

test.each(['hmac', 'attest'] as const)(
  'an %s that its owner has wiped is nowhere else',
  async (what) => {
    const tpm = await openTpm({ tcti: swtpm.tcti })
    const value = Buffer.from(await tpm.sequence(VALUES[what]))
    await tpm.close()
    // free(3) writes over the first bytes of what it takes back.
    const end = value.subarray(-16)
    const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, swtpm.tcti, what], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    expect(timesInMemory(child.pid ?? 0, end)).toBe(1)
    child.stdin.write('x')
    await once(child.stdout, 'data')
    expect(timesInMemory(child.pid ?? 0, end)).toBe(0)
  },
)
