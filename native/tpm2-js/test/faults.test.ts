import { afterEach, beforeEach, expect, test } from 'vitest'
import { openTpm, type Tpm, type TpmCommands, TpmError } from '../src/tpm.ts'
import { startProxy, type TpmProxy } from './proxy.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { AK, EK, hmacKey } from './templates.ts'
import { heldHandles } from './tools.ts'

/** A TPM that dies, hangs or comes back. */

const TIMEOUT_MS = 400

let swtpm: Swtpm
let proxy: TpmProxy
let tpm: Tpm

beforeEach(async () => {
  swtpm = await startSwtpm()
  proxy = await startProxy(swtpm)
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: TIMEOUT_MS })
})

afterEach(async () => {
  swtpm.resume()
  proxy.reset()
  await tpm.close()
  await proxy.close()
  await swtpm.stop()
})

const threeKeysThen = (strike: () => void | Promise<void>) => async (c: TpmCommands) => {
  await c.createPrimary('endorsement', EK)
  await c.createPrimary('endorsement', AK)
  const key = await c.createPrimary('null', hmacKey('a'))
  await strike()
  return await c.hmac(key, new Uint8Array(8))
}

const aKeyThen = (strike: () => void) => async (c: TpmCommands) => {
  const key = await c.createPrimary('null', hmacKey('a'))
  strike()
  return await c.hmac(key, new Uint8Array(8))
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

test('a TPM killed between commands is TPM_TRANSPORT, also for later sequences', async () => {
  const error = await failureOf(tpm.sequence(threeKeysThen(() => swtpm.kill())))
  expect(error).toMatchObject({ code: 'TPM_TRANSPORT', layer: 'tcti', retry: true })
  expect(await failureOf(tpm.sequence((c) => c.getRandom(8)))).toBe(error)
  await tpm.close()
})

test('a TPM killed in the middle of a command is TPM_TRANSPORT', async () => {
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
  const error = await failureOf(tpm.sequence(threeKeysThen(() => swtpm.pause())))
  expect(error).toMatchObject({ code: 'TPM_TIMEOUT', layer: 'binding', retry: true })
  expect(await failureOf(tpm.sequence((c) => c.getRandom(8)))).toBe(error)
  await tpm.close()
})

test('opening a stopped TPM is TPM_TIMEOUT, and a third time TPM_STUCK until it answers', async () => {
  swtpm.pause()
  const open = () => failureOf(openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 100 }))
  expect(await open()).toMatchObject({ code: 'TPM_TIMEOUT' })
  expect(await open()).toMatchObject({ code: 'TPM_TIMEOUT' })
  expect(await open()).toMatchObject({ code: 'TPM_STUCK', layer: 'binding', retry: true })
  swtpm.resume()
  await expect.poll(opensAt(swtpm.tcti)).toBe('open')
})

test('however many wait for one late answer, one context is stuck', async () => {
  swtpm.pause()
  const waiting = Array.from({ length: 5 }, () => failureOf(tpm.sequence((c) => c.getRandom(8))))
  for (const error of await Promise.all(waiting)) {
    expect(error).toMatchObject({ code: 'TPM_TIMEOUT' })
  }
  expect(await opensAt(swtpm.tcti)()).toBe('TPM_TIMEOUT')
  expect(await opensAt(swtpm.tcti)()).toBe('TPM_STUCK')
})

/** TPM2_FlushContext (Part 2, 6.5.2), in the header of a command (Part 1, 18.1). */
const isFlush = (command: Buffer) => command.length >= 10 && command.readUInt32BE(6) === 0x165

/** No sessions, if the command had one. */
const MALFORMED = Buffer.from('80010000000c000000000000', 'hex')

test.each([
  ['TPM_TIMEOUT', () => proxy.hold(() => true)],
  ['TPM_RESPONSE', () => proxy.tamper(() => MALFORMED)],
])('contexts that are late in being emptied after %s count as stuck', async (code, strike) => {
  const contexts = await Promise.all(
    [1, 2].map(() => openTpm({ tcti: proxy.tcti, commandTimeoutMs: TIMEOUT_MS })),
  )
  for (const context of contexts) {
    expect(await failureOf(context.sequence(aKeyThen(strike)))).toMatchObject({ code })
    proxy.tamper((response) => response)
    proxy.hold(isFlush)
    await expect.poll(proxy.heldCount).toBe(contexts.indexOf(context) + 1)
  }
  await expect.poll(opensAt(proxy.tcti), { timeout: 5000 }).toBe('TPM_STUCK')
  proxy.hold(() => false)
  await expect.poll(opensAt(proxy.tcti), { timeout: 5000 }).toBe('open')
  expect(await tpm.sequence(heldHandles)).toEqual([])
  await Promise.all(contexts.map((context) => context.close()))
})

/** A way to ask whether a connection can be opened now: `open`, or the code of what it fails with. */
function opensAt(tcti: string): () => Promise<string> {
  return async () => {
    try {
      const opened = await openTpm({ tcti, commandTimeoutMs: TIMEOUT_MS })
      await opened.close()
      return 'open'
    } catch (error) {
      return error instanceof TpmError ? error.code : String(error)
    }
  }
}

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
