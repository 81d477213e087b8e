import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  COMMANDS,
  type Command,
  type Fault,
  type FaultingProxy,
  startFaultingProxy,
} from '../../native/tpm2-js/test/faulting-proxy.ts'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { withInstanceWatch } from '../../src/agent/instance-watch.ts'
import type { ReadyState } from '../../src/agent/startup.ts'
import { MetabindError } from '../../src/errors.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { skSigner } from '../../src/identity/sk-signer.ts'
import { createInstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { EK_CERTIFICATE_NV, EK_CHAIN_NV, writeNv } from '../harness/nv.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { type StartupBench, startupBench } from '../harness/startup-bench.ts'

/**
 * A TPM as it is in life: each command that the agent sends, failing in each way. Made on the wire,
 * between the agent's parts in this process and a real TPM.
 */

// Up to thirty startups in a row; a loaded machine takes a second for each.
vi.setConfig({ testTimeout: 120_000 })

/** Warnings and errors that pass (Part 2, 6.6.3), and what becomes of connections. */
const FAULTS: readonly Fault[] = [
  ...[0x922, 0x90a, 0x908], // RETRY, TESTING, YIELDED: ESAPI itself asks five times
  ...[0x909, 0x920, 0x921, 0x923], // CANCELED, NV_RATE, LOCKOUT, NV_UNAVAILABLE
  ...[0x902, 0x903, 0x904, 0x905, 0x906], // OBJECT_, SESSION_MEMORY, MEMORY, SESSION_, OBJECT_HANDLES
  ...[0x100, 0x101, 0x120], // INITIALIZE, FAILURE, DISABLED
  ...(['lost before', 'lost after'] as const),
]

/** One of each class, and the words that it is waited for with: passing, of NV, of room, fatal, of the connection. */
const CLASSES: readonly (readonly [Fault, string])[] = [
  [0x90a, 'TPM_RC_TESTING'],
  [0x923, 'TPM_RC_NV_UNAVAILABLE'],
  [0x903, 'TPM_RC_SESSION_MEMORY'],
  [0x100, 'TPM_RC_INITIALIZE'],
  ['lost before', 'TSS2_RC_IO_ERROR'],
  ['lost after', 'TSS2_RC_IO_ERROR'],
]
const fiveTimesEach = (): Fault[] =>
  CLASSES.flatMap(([fault]) => [fault, fault, fault, fault, fault])

// More than any row of the table needs.
const TRIES_MAX = 100
// What an unlucky moment leaves loaded is flushed at the second lack of room.
const FLUSHED_WITHIN = 2

const STARTUP_COMMANDS: readonly Command[] = [
  ...(['GetCapability', 'NV_ReadPublic', 'NV_Read', 'CreatePrimary', 'FlushContext'] as const),
  ...(['StartAuthSession', 'HMAC', 'PCR_Read', 'Quote', 'Certify'] as const),
  ...(['PolicySecret', 'ActivateCredential', 'ReadClock'] as const),
]

let stack: AsyncDisposableStack
let swtpm: Swtpm
let proxy: FaultingProxy
let bench: StartupBench
beforeAll(async () => {
  stack = new AsyncDisposableStack()
  swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  await certify()
  proxy = stack.use(await startFaultingProxy(swtpm))
  const cloud = stack.use(await startSimulator())
  const { path } = stack.use(await scratchDirectory())
  bench = stack.use(await startupBench(path, proxy.tcti, cloud.url))
})
afterEach(() => proxy.heal())
afterAll(() => stack.disposeAsync())

/** An EK certificate and its issuer in NV, so that reading them can fail. */
async function certify(): Promise<void> {
  const tpm = instanceTpm(swtpm.tcti, 10_000)
  const { ek } = await createInstanceKeys(tpm)
  await tpm.close()
  const key = keyObjectOf(parsePublic(ek.publicArea)).export({ type: 'spki', format: 'der' })
  const authority = makeAuthority('Test EK Authority')
  await writeNv(swtpm, EK_CERTIFICATE_NV, makeEkCertificate(authority, key))
  await writeNv(swtpm, EK_CHAIN_NV, authority.der)
}

/** Starts, and says what each try that failed was waited for with. */
async function waitsOfStartup(
  onWait: (count: number) => unknown = () => undefined,
): Promise<string[]> {
  const waits: string[] = []
  await bench.start(async ({ waitsFor }) => {
    waits.push(`${waitsFor?.code}: ${waitsFor?.message}`)
    if (waits.length > TRIES_MAX) throw new Error(`not ready: ${waits.at(-1)}`)
    await onWait(waits.length)
  })
  return waits
}

test('the table knows every command that a startup sends', async () => {
  expect(await waitsOfStartup()).toEqual([])
  expect(proxy.seen).toEqual(new Set(STARTUP_COMMANDS.map((command) => COMMANDS[command])))
})

describe('a startup is ready as soon as the TPM is', () => {
  // A fault is one try at most: the next meets the next.
  test.each(STARTUP_COMMANDS)('after each fault of %s, once', async (command) => {
    proxy.fail(command, FAULTS)
    const waits = await waitsOfStartup()
    expect(proxy.failed()).toBe(FAULTS.length)
    expect(waits.length).toBeLessThanOrEqual(FAULTS.length)
    for (const wait of waits) expect(wait).toMatch(/^TPM_(FAULT|FULL): .*(TPM_RC|TSS2_RC_IO_ERROR)/)
  })

  test.each(STARTUP_COMMANDS)(
    'after one fault of each class of %s, five times',
    async (command) => {
      proxy.fail(command, fiveTimesEach())
      const waits = await waitsOfStartup()
      expect(proxy.failed()).toBe(5 * CLASSES.length)
      expect(waits.length).toBeLessThanOrEqual(5 * CLASSES.length)
    },
  )

  test.each(STARTUP_COMMANDS)(
    'after one fault of each class of %s that lasted',
    async (command) => {
      for (const [fault, says] of CLASSES) {
        proxy.failForEver(command, fault)
        const waits = await waitsOfStartup((count) => count === 4 && proxy.heal())
        expect(waits.length).toBeLessThanOrEqual(4 + FLUSHED_WITHIN)
        expect(waits[0]).toContain(says)
      }
    },
  )
})

describe('a ready agent', () => {
  let ready: ReadyState
  let steps: Readonly<Record<string, () => Promise<unknown>>>
  beforeAll(async () => {
    ready = await bench.start(() => undefined)
    const keys = withInstanceWatch(
      ready,
      () => undefined,
      () => undefined,
    )
    const signer = skSigner(bench.tpm, ready.keys)
    steps = {
      recheck: () => keys.refresh(),
      evidence: () => ready.attester.evidence({ nonce: Buffer.alloc(32, 7) }),
      'self-test': () => ready.attester.selfTest(),
      signing: () => signer.sign('a message'),
    }
  })

  const RUNNING: readonly (readonly [string, Command])[] = [
    ...(['CreatePrimary', 'StartAuthSession', 'HMAC', 'ReadClock', 'FlushContext'] as const).map(
      (command) => ['recheck', command] as const,
    ),
    ...(['CreatePrimary', 'PCR_Read', 'Quote', 'Certify', 'FlushContext'] as const).map(
      (command) => ['evidence', command] as const,
    ),
    ...(['PolicySecret', 'ActivateCredential'] as const).map(
      (command) => ['self-test', command] as const,
    ),
    ...(['CreatePrimary', 'Sign', 'FlushContext'] as const).map(
      (command) => ['signing', command] as const,
    ),
  ]

  // What was signed is given out although its key could not be flushed: that is tried again later.
  const WHILE_IT_LASTS = new Map<Command, RegExp>([['FlushContext', /^(TPM_|done$)/]])

  async function codeOf(step: (() => Promise<unknown>) | undefined): Promise<string> {
    try {
      await step?.()
      return 'done'
    } catch (error) {
      return error instanceof MetabindError ? error.code : String(error)
    }
  }

  /** Takes the step until it succeeds and has met so many faults. @returns what its tries failed with */
  async function failuresOf(step: string, faults: number): Promise<MetabindError[]> {
    const failures: MetabindError[] = []
    while (failures.length <= faults + FLUSHED_WITHIN) {
      try {
        await steps[step]?.()
        if (proxy.failed() === faults) return failures
      } catch (error) {
        if (!(error instanceof MetabindError)) throw error
        failures.push(error)
      }
    }
    throw failures.at(-1)
  }

  test.each(RUNNING)('takes the step %s again after each fault of %s', async (step, command) => {
    proxy.fail(command, FAULTS)
    const failures = await failuresOf(step, FAULTS.length)
    for (const { code } of failures) expect(code).toMatch(/^TPM_(FAULT|FULL)$/)
  })

  test.each(RUNNING)(
    'takes the step %s again after one fault of each class of %s, five times',
    async (step, command) => {
      proxy.fail(command, fiveTimesEach())
      await failuresOf(step, 5 * CLASSES.length)
    },
  )

  test.each(RUNNING)(
    'takes the step %s again after one fault of each class of %s that lasted',
    async (step, command) => {
      for (const [fault] of CLASSES) {
        proxy.failForEver(command, fault)
        const codes = await Promise.all([1, 2, 3, 4].map(() => codeOf(steps[step])))
        for (const code of codes) expect(code).toMatch(WHILE_IT_LASTS.get(command) ?? /^TPM_/)
        proxy.heal()
        // What an unlucky moment left loaded may need another try or two.
        await failuresOf(step, 0)
      }
    },
  )

  test.each(['recheck', 'evidence', 'signing'])(
    'takes the step %s again after a lost connection that is hard to open again',
    async (step) => {
      proxy.fail('CreatePrimary', ['lost before'])
      proxy.fail('GetCapability', FAULTS)
      await failuresOf(step, 1 + FAULTS.length)
    },
  )
})

test('a TPM that is reset in the middle of a startup is taken as it is then', async () => {
  for (const command of ['NV_Read', 'Quote', 'ReadClock'] as const) {
    let isBack: Promise<void> | undefined
    proxy.fail(command, [() => (isBack = swtpm.reset())])
    const waits = await waitsOfStartup(() => isBack)
    expect(proxy.failed(), command).toBe(1)
    expect(waits.length, command).toBeLessThanOrEqual(3)
    proxy.heal()
  }
})
