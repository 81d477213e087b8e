import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openTpm, type Tpm, type TpmCommands, type TpmObject } from '../src/tpm.ts'
import { SALT_KEPT } from '../src/tss-versions.ts'
import { COMMANDS, startFaultingProxy } from './faulting-proxy.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { EK, hmacKey, STORAGE } from './templates.ts'
import { heldHandles, tpm2 } from './tools.ts'

let swtpm: Swtpm
let tpm: Tpm

beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 5000 })
})

afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const DATA = new Uint8Array(8)
const held = () => tpm.sequence(heldHandles)

test('100 concurrent callers get their own answers, in the order of asking', async () => {
  const order: number[] = []
  const callers = Array.from({ length: 100 }, (_, caller) =>
    tpm.sequence(async (c) => {
      order.push(caller)
      const ek = await c.createPrimary('endorsement', EK)
      const key = await c.createPrimary('null', hmacKey(`${caller % 4}`))
      const session = await c.startAuthSession({ type: 'hmac', tpmKey: ek })
      return Buffer.from(await c.hmac(key, DATA, session)).toString('hex')
    }),
  )
  const values = await Promise.all(callers)
  expect(order).toEqual([...order].sort((a, b) => a - b))
  expect(new Set(values).size).toBe(4)
  expect(values.every((value, caller) => value === values[caller % 4])).toBe(true)
  expect(await held()).toEqual([])
})

test('concurrent commands of one sequence run one at a time', async () => {
  const values = await tpm.sequence(async (c) => {
    const key = await c.createPrimary('null', hmacKey('a'))
    return await Promise.all(Array.from({ length: 20 }, () => c.hmac(key, DATA)))
  })
  expect(new Set(values.map(String)).size).toBe(1)
})

test('a fourth object is refused with TPM_RC_OBJECT_MEMORY, and nothing is left', async () => {
  const fourKeys = (c: TpmCommands) =>
    Promise.all(['a', 'b', 'c', 'd'].map((label) => c.createPrimary('owner', hmacKey(label))))
  for (let round = 0; round < 5; round++) {
    await expect(tpm.sequence(fourKeys)).rejects.toMatchObject({
      code: 'TPM_RC',
      rcName: 'TPM_RC_OBJECT_MEMORY',
      retry: true,
    })
    expect(await held()).toEqual([])
  }
})

test('what the steps throw arrives unchanged, and nothing is left', async () => {
  const mine = new Error('mine')
  const failing = tpm.sequence(async (c) => {
    const tpmKey = await c.createPrimary('endorsement', EK)
    await c.startAuthSession({ type: 'policy', tpmKey })
    throw mine
  })
  await expect(failing).rejects.toBe(mine)
  expect(await held()).toEqual([])
})

test('a command that nobody awaited leaves nothing', async () => {
  await tpm.sequence(async (c) => {
    c.createPrimary('owner', STORAGE).catch(() => undefined)
    c.startAuthSession({ type: 'hmac' }).catch(() => undefined)
  })
  expect(await held()).toEqual([])
})

test('an object of an ended sequence is TPM_OBJECT_GONE', async () => {
  const key: TpmObject = await tpm.sequence((c) => c.createPrimary('null', hmacKey('a')))
  await expect(tpm.sequence((c) => c.hmac(key, DATA))).rejects.toMatchObject({
    code: 'TPM_OBJECT_GONE',
  })
})

test('a flushed object is TPM_OBJECT_GONE', async () => {
  const using = tpm.sequence(async (c) => {
    const key = await c.createPrimary('null', hmacKey('a'))
    await c.flushContext(key)
    await c.hmac(key, DATA)
  })
  await expect(using).rejects.toMatchObject({ code: 'TPM_OBJECT_GONE' })
})

test('the commands of an ended sequence are TPM_OBJECT_GONE', async () => {
  const commands = await tpm.sequence(async (c) => c)
  await expect(commands.getRandom(8)).rejects.toMatchObject({ code: 'TPM_OBJECT_GONE' })
})

const WRONG: readonly [string, string, (c: TpmCommands) => Promise<unknown>][] = [
  ['1025 bytes', 'data', async (c) => c.hmac(await key(c), new Uint8Array(1025))],
  ['a digest of 19 bytes', 'digest', async (c) => c.sign(await key(c), new Uint8Array(19))],
  ['no random bytes', 'bytes', (c) => c.getRandom(0)],
  ['65 random bytes', 'bytes', (c) => c.getRandom(65)],
  ['half a byte', 'bytes', (c) => c.getRandom(1.5)],
  ['PCR 24', 'pcrs', (c) => c.pcrRead([{ hash: 'sha256', pcrs: [24] }])],
  ['PCR -1', 'pcrs', (c) => c.pcrRead([{ hash: 'sha256', pcrs: [-1] }])],
  ['a PCR twice', 'pcrs', (c) => c.pcrRead([{ hash: 'sha256', pcrs: [1, 1] }])],
  ['no PCR', 'pcrs', (c) => c.pcrRead([{ hash: 'sha256', pcrs: [] }])],
  ['no bank', 'selection', (c) => c.pcrRead([])],
  ['an inherited word', 'hash', (c) => c.pcrRead([{ hash: 'toString' as 'sha1', pcrs: [0] }])],
  ['a transient handle', 'persistentHandle', (c) => c.objectAt(0x8000_0000)],
  ['a PCR as index', 'index', (c) => c.nvRead(0)],
  ['an empty template', 'template', (c) => c.createPrimary('owner', new Uint8Array())],
  ['a cut template', 'template', (c) => c.createPrimary('owner', EK.slice(0, -1))],
  [
    'bytes after a template',
    'template',
    (c) => c.createPrimary('owner', Buffer.concat([EK, DATA])),
  ],
  [
    'an auth of 65 bytes',
    'auth',
    (c) => c.createPrimary('owner', EK, { auth: new Uint8Array(65) }),
  ],
  [
    '67 bytes to qualify',
    'qualifyingData',
    async (c) => c.getTime(await key(c), new Uint8Array(67)),
  ],
]

const key = (c: TpmCommands) => c.createPrimary('null', hmacKey('a'))

test.each(WRONG)('%s is TPM_ARGUMENT naming %s', async (_what, argument, ask) => {
  const error = await tpm.sequence(ask).catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'TPM_ARGUMENT', layer: 'binding', rc: undefined })
  expect(String(error)).toContain(`${argument}: `)
  expect(await held()).toEqual([])
})

test('every cut of a template is refused', async () => {
  for (let length = 0; length < EK.length; length++) {
    const cut = EK.slice(0, length)
    await expect(tpm.sequence((c) => c.createPrimary('owner', cut))).rejects.toMatchObject({
      code: 'TPM_ARGUMENT',
    })
  }
})

test('close waits for the running sequence and refuses those behind it', async () => {
  const own = await openTpm({ tcti: swtpm.tcti })
  const started = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const running = own.sequence(async (c) => {
    await c.createPrimary('owner', STORAGE)
    started.resolve()
    await goOn.promise
    return await c.getRandom(8)
  })
  await started.promise
  const behind = own.sequence((c) => c.getRandom(8))
  const closed = Promise.all([own.close(), own.close()])
  goOn.resolve()
  expect(await running).toHaveLength(8)
  await expect(behind).rejects.toMatchObject({ code: 'TPM_CLOSED' })
  await closed
  await expect(own.sequence((c) => c.getRandom(8))).rejects.toMatchObject({ code: 'TPM_CLOSED' })
  expect(await held()).toEqual([])
})

/** An unsalted session gets a wrong key, and the TPM refuses its HMAC, if ESAPI takes an earlier salt for it. */
describe('the salt of a session is not taken for a later one', () => {
  const salted = async (c: TpmCommands) => {
    const tpmKey = await c.createPrimary('owner', STORAGE)
    await c.startAuthSession({ type: 'hmac', tpmKey })
  }
  const unsalted = async (c: TpmCommands) => {
    const key = await c.createPrimary('null', hmacKey('a'))
    const session = await c.startAuthSession({ type: 'hmac' })
    return await c.hmac(key, DATA, session)
  }

  test('in the next sequence', async () => {
    await tpm.sequence(salted)
    expect(await tpm.sequence(unsalted)).toHaveLength(32)
  })

  test('in the next sequence after the TPM has refused the salted one', async () => {
    await using proxy = await startFaultingProxy(swtpm)
    const through = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
    onTestFinished(() => through.close())
    const TPM_RC_SESSION_MEMORY = 0x903
    proxy.fail('StartAuthSession', [TPM_RC_SESSION_MEMORY])
    await expect(through.sequence(salted)).rejects.toMatchObject({ rc: TPM_RC_SESSION_MEMORY })
    expect(await through.sequence(unsalted)).toHaveLength(32)
  })

  test('in the same sequence it is said, before the TPM counts a wrong HMAC', async () => {
    await using proxy = await startFaultingProxy(swtpm)
    const through = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
    onTestFinished(() => through.close())
    proxy.fail('StartAuthSession', [0x903])
    const both = through.sequence(async (c) => {
      await salted(c).catch(() => undefined)
      return await unsalted(c)
    })
    await expect(both).rejects.toMatchObject({ code: 'TPM_LIBRARY', message: SALT_KEPT })
    expect(proxy.seen).not.toContain(COMMANDS.HMAC)
    await expect.poll(held).toEqual([])
  })
})

test('what the TPM does not flush at once is flushed when the next sequence ends', async () => {
  await using proxy = await startFaultingProxy(swtpm)
  const through = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
  const make = (c: TpmCommands) => c.createPrimary('owner', hmacKey('a'))
  try {
    proxy.fail('FlushContext', [0x923])
    await expect(through.sequence(make)).rejects.toMatchObject({ rcName: 'TPM_RC_NV_UNAVAILABLE' })
    expect(await through.sequence(heldHandles)).toHaveLength(1)
    expect(await through.sequence(heldHandles)).toEqual([])
  } finally {
    await through.close()
  }
})

test('what a process left loaded is found and flushed by its handles', async () => {
  await tpm2(swtpm, 'createprimary', '-C', 'o')
  expect(await tpm.sequence((c) => c.loadedHandles())).toEqual([0x8000_0000])
  await tpm.sequence(async (c) => {
    const key = await c.createPrimary('null', hmacKey('a'))
    await c.startAuthSession({ type: 'hmac' })
    expect(await c.loadedHandles()).toEqual([0x8000_0000, 0x8000_0001, 0x0200_0000])
    await c.flushHandle(0x8000_0000)
    await c.flushHandle(0x0200_0000)
    // The context goes on: its own objects are still there.
    await c.hmac(key, DATA)
    expect(await c.loadedHandles()).toEqual([0x8000_0001])
    await expect(c.flushHandle(0x8000_0000)).rejects.toMatchObject({ code: 'TPM_RC' })
    await expect(c.flushHandle(0x8100_0001)).rejects.toMatchObject({ code: 'TPM_ARGUMENT' })
  })
  expect(await held()).toEqual([])
})
