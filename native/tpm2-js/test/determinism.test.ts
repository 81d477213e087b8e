import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { type Hierarchy, openTpm } from '../src/tpm.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { hmacKey } from './templates.ts'
import { tpm2 } from './tools.ts'

/** When an HMAC of a primary key stays the same, and when it does not. */

const EXAMPLE = fileURLToPath(new URL('../examples/hmac.ts', import.meta.url))
const run = promisify(execFile)

async function startedSwtpm(): Promise<Swtpm> {
  const swtpm = await startSwtpm()
  onTestFinished(() => swtpm.stop())
  return swtpm
}

async function hmacIn(swtpm: Swtpm, hierarchy: Hierarchy): Promise<string> {
  const tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 5000 })
  try {
    return await tpm.sequence(async (c) => {
      const key = await c.createPrimary(hierarchy, hmacKey('a'))
      return Buffer.from(await c.hmac(key, new Uint8Array(8))).toString('hex')
    })
  } finally {
    await tpm.close()
  }
}

test('the same value in another context; another in another hierarchy', async () => {
  const swtpm = await startedSwtpm()
  const values = [await hmacIn(swtpm, 'null'), await hmacIn(swtpm, 'null')]
  expect(values[0]).toBe(values[1])
  expect(await hmacIn(swtpm, 'endorsement')).not.toBe(values[0])
})

test('the same value in another process, by the example; another for another label', async () => {
  const swtpm = await startedSwtpm()
  const example = async (label: string) => {
    const args = [EXAMPLE, swtpm.tcti, label]
    return (await run(process.execPath, args, { timeout: 10_000 })).stdout
  }
  const first = await example('label')
  expect(first).toMatch(/^[0-9a-f]{64}\n$/)
  expect(await example('label')).toBe(first)
  expect(await example('other')).not.toBe(first)
})

test('TPM Reset: another null key, the same endorsement key', async () => {
  const swtpm = await startedSwtpm()
  const before = [await hmacIn(swtpm, 'null'), await hmacIn(swtpm, 'endorsement')]
  await swtpm.reset()
  expect(await hmacIn(swtpm, 'null')).not.toBe(before[0])
  expect(await hmacIn(swtpm, 'endorsement')).toBe(before[1])
})

test('TPM Restart: the same null key', async () => {
  const swtpm = await startedSwtpm()
  const before = await hmacIn(swtpm, 'null')
  await swtpm.restartState()
  expect(await hmacIn(swtpm, 'null')).toBe(before)
})

test('TPM2_Clear: another owner key, the same endorsement key', async () => {
  const swtpm = await startedSwtpm()
  const before = [await hmacIn(swtpm, 'owner'), await hmacIn(swtpm, 'endorsement')]
  await tpm2(swtpm, 'clear', '-c', 'p')
  expect(await hmacIn(swtpm, 'owner')).not.toBe(before[0])
  expect(await hmacIn(swtpm, 'endorsement')).toBe(before[1])
})

test('another TPM: another value in every hierarchy', async () => {
  const [one, two] = [await startedSwtpm(), await startedSwtpm()]
  for (const hierarchy of ['null', 'endorsement', 'owner'] as const) {
    expect(await hmacIn(one, hierarchy)).not.toBe(await hmacIn(two, hierarchy))
  }
})
