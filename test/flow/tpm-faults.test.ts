import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  COMMANDS,
  type Command,
  type Fault,
  type FaultingProxy,
  startFaultingProxy,
} from '../../native/test/faulting-proxy.ts'
import { startSwtpm } from '../../native/test/swtpm.ts'
import { createInstanceKeys, instanceTpm } from '../../src/boot/tpm.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { keyObjectOf } from '../../src/verify/tpm-key.ts'
import { type BootBench, bootBench } from '../harness/boot-bench.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { EK_CERTIFICATE_NV, EK_CHAIN_NV, writeNv } from '../harness/nv.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/**
 * A TPM as it is in life: each command that the agent sends, failing in each way. Made on the wire,
 * between the agent's parts in this process and a real TPM.
 */

/** Warnings and errors that pass (Part 2, 6.6.3), and what becomes of connections. */
const FAULTS: readonly Fault[] = [
  ...[0x922, 0x90a, 0x908], // RETRY, TESTING, YIELDED: ESAPI itself asks five times
  ...[0x909, 0x920, 0x921, 0x923], // CANCELED, NV_RATE, LOCKOUT, NV_UNAVAILABLE
  ...[0x902, 0x903, 0x904, 0x905, 0x906], // OBJECT_, SESSION_MEMORY, MEMORY, SESSION_, OBJECT_HANDLES
  ...[0x100, 0x101, 0x120], // INITIALIZE, FAILURE, DISABLED
  ...(['lost before', 'lost after'] as const),
]

const BOOT_COMMANDS: readonly Command[] = [
  ...(['GetCapability', 'NV_ReadPublic', 'NV_Read', 'CreatePrimary', 'FlushContext'] as const),
  ...(['StartAuthSession', 'HMAC', 'PCR_Read', 'Quote', 'Certify'] as const),
  ...(['PolicySecret', 'ActivateCredential', 'ReadClock'] as const),
]

let stack: AsyncDisposableStack
let proxy: FaultingProxy
let bench: BootBench
beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  await certify(swtpm)
  proxy = stack.use(await startFaultingProxy(swtpm))
  const cloud = stack.use(await startSimulator())
  const { path } = stack.use(await scratchDirectory())
  bench = stack.use(await bootBench(path, proxy.tcti, cloud.url))
})
afterAll(() => stack.disposeAsync())

/** An EK certificate and its issuer in NV, so that reading them can fail. */
async function certify(swtpm: Awaited<ReturnType<typeof startSwtpm>>): Promise<void> {
  const tpm = instanceTpm(swtpm.tcti, 10_000)
  const { ek } = await createInstanceKeys(tpm)
  await tpm.close()
  const key = keyObjectOf(parsePublic(ek.publicArea)).export({ type: 'spki', format: 'der' })
  const authority = makeAuthority('Test EK Authority')
  await writeNv(swtpm, EK_CERTIFICATE_NV, makeEkCertificate(authority, key))
  await writeNv(swtpm, EK_CHAIN_NV, authority.der)
}

/** Boots, and says what each try that failed was waited for with. */
async function waitsOfBoot(onWait: (count: number) => void = () => undefined): Promise<string[]> {
  const waits: string[] = []
  await bench.boot(({ waitsFor }) => {
    waits.push(`${waitsFor?.code}: ${waitsFor?.message}`)
    onWait(waits.length)
  })
  return waits
}

test('the table knows every command that boot sends', async () => {
  expect(await waitsOfBoot()).toEqual([])
  expect(proxy.seen).toEqual(new Set(BOOT_COMMANDS.map((command) => COMMANDS[command])))
})

describe('boot is ready as soon as the TPM is', () => {
  // A fault is one try at most: the next meets the next.
  test.each(BOOT_COMMANDS)('after each fault of %s, once', async (command) => {
    proxy.fail(command, FAULTS)
    const waits = await waitsOfBoot()
    expect(proxy.failed()).toBe(FAULTS.length)
    expect(waits.length).toBeLessThanOrEqual(FAULTS.length)
    for (const wait of waits) expect(wait).toMatch(/^TPM_(FAULT|FULL): .*(TPM_RC|TSS2_RC_IO_ERROR)/)
  })

  // A command of each step, and of each kind: asked, made, flushed, authorized, signed.
  const SOME = ['GetCapability', 'CreatePrimary', 'FlushContext', 'StartAuthSession', 'Certify']
  test.each(SOME.filter(isCommand))('after each fault of %s, five times', async (command) => {
    const seen = [0x922, 0x923, 0x903, 0x100, 'lost after'] as const
    proxy.fail(
      command,
      seen.flatMap((fault) => [fault, fault, fault, fault, fault]),
    )
    const waits = await waitsOfBoot()
    expect(proxy.failed()).toBe(25)
    expect(waits.length).toBeLessThanOrEqual(25)
  })

  test.each(SOME.filter(isCommand))('after a fault of %s that lasted', async (command) => {
    for (const [fault, says] of LASTING) {
      proxy.failForEver(command, fault)
      const waits = await waitsOfBoot((count) => count === 4 && proxy.heal())
      // What stays loaded meanwhile is flushed at the second lack of room.
      expect(waits.length).toBeLessThanOrEqual(6)
      expect(waits[0]).toContain(says)
    }
  })
})

const LASTING: readonly (readonly [Fault, string])[] = [
  [0x90a, 'TPM_RC_TESTING'],
  [0x923, 'TPM_RC_NV_UNAVAILABLE'],
  [0x100, 'TPM_RC_INITIALIZE'],
  ['lost before', 'TSS2_RC_IO_ERROR'],
  ['lost after', 'TSS2_RC_IO_ERROR'],
]

function isCommand(name: string): name is Command {
  return Object.hasOwn(COMMANDS, name)
}
