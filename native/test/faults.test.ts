import { afterEach, beforeEach, expect, test } from 'vitest'
import { openTpm, type Tpm, type TpmCommands } from '../src/tpm.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { AK, EK, hmacKey } from './templates.ts'
import { heldHandles } from './tools.ts'

/** A TPM that dies, hangs or comes back. */

const TIMEOUT_MS = 400

let swtpm: Swtpm
let tpm: Tpm

beforeEach(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: TIMEOUT_MS })
})

afterEach(async () => {
  swtpm.resume()
  await tpm.close()
  await swtpm.stop()
})

async function within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  try {
    return await work()
  } finally {
    expect(performance.now() - start).toBeLessThan(limitMs)
  }
}

const threeKeysThen = (strike: () => void | Promise<void>) => async (c: TpmCommands) => {
  await c.createPrimary('endorsement', EK)
  await c.createPrimary('endorsement', AK)
  const key = await c.createPrimary('null', hmacKey('a'))
  await strike()
  return await c.hmac(key, new Uint8Array(8))
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

test('a TPM killed between commands is TPM_TRANSPORT, also for later sequences', async () => {
  await within(TIMEOUT_MS, async () => {
    const error = await failureOf(tpm.sequence(threeKeysThen(() => swtpm.kill())))
    expect(error).toMatchObject({ code: 'TPM_TRANSPORT', layer: 'tcti', retry: true })
    expect(await failureOf(tpm.sequence((c) => c.getRandom(8)))).toBe(error)
    await tpm.close()
  })
})

test('a TPM killed in the middle of a command is TPM_TRANSPORT', async () => {
  await within(TIMEOUT_MS, async () => {
    const running = failureOf(
      tpm.sequence(async (c) => {
        swtpm.pause()
        const answer = c.getRandom(8)
        setTimeout(() => void swtpm.kill(), 50)
        return await answer
      }),
    )
    expect(await running).toMatchObject({ code: 'TPM_TRANSPORT' })
  })
})

test('after a restart on the same state a new context gives the same endorsement key', async () => {
  const name = () => tpm.sequence(async (c) => (await c.createPrimary('endorsement', EK)).name)
  const before = await name()
  await swtpm.kill()
  await failureOf(tpm.sequence((c) => c.getRandom(8)))
  await tpm.close()
  await swtpm.start()
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: TIMEOUT_MS })
  expect(await name()).toEqual(before)
})

test('a stopped TPM is TPM_TIMEOUT in bounded time, and close does not wait for it', async () => {
  await within(2 * TIMEOUT_MS, async () => {
    const error = await failureOf(tpm.sequence(threeKeysThen(() => swtpm.pause())))
    expect(error).toMatchObject({ code: 'TPM_TIMEOUT', layer: 'binding', retry: true })
    expect(await failureOf(tpm.sequence((c) => c.getRandom(8)))).toBe(error)
    await tpm.close()
  })
})

test('opening a stopped TPM is TPM_TIMEOUT, and a third stuck call is refused at once', async () => {
  swtpm.pause()
  const open = () => failureOf(openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 100 }))
  expect(await open()).toMatchObject({ code: 'TPM_TIMEOUT' })
  expect(await open()).toMatchObject({ code: 'TPM_TIMEOUT' })
  await within(50, async () => expect(await open()).toMatchObject({ code: 'TPM_TIMEOUT' }))
})

test('a TPM that answers after the timeout is emptied of what the broken context had', async () => {
  await failureOf(tpm.sequence(threeKeysThen(() => swtpm.pause())))
  swtpm.resume()
  const next = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 2000 })
  try {
    // The late answer and the flushes after it run on another connection to the same TPM.
    await expect.poll(() => next.sequence(heldHandles), { timeout: 3000 }).toEqual([])
  } finally {
    await next.close()
  }
})

test('a key made after the timeout is flushed too', async () => {
  const making = tpm.sequence((c) => {
    swtpm.pause()
    return c.createPrimary('endorsement', EK)
  })
  expect(await failureOf(making)).toMatchObject({ code: 'TPM_TIMEOUT' })
  swtpm.resume()
  const next = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 2000 })
  try {
    await expect.poll(() => next.sequence(heldHandles), { timeout: 3000 }).toEqual([])
  } finally {
    await next.close()
  }
})
