import { cp, mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import type { MetabindError } from '../../src/errors.ts'
import { continuityOf } from '../../src/identity/continuity.ts'
import { changeSince, type InstanceChange } from '../../src/identity/instance-record.ts'
import { createInstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { scratch } from '../harness/metabind.ts'

/** What a real TPM and a state directory tell of what has happened to an instance. */

const RECORD = 'instance.json'

let stack: AsyncDisposableStack
let directory: string
let swtpm: Swtpm
let unwritten: MetabindError[]
beforeEach(async () => {
  unwritten = []
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratch()).path
  swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
})
afterEach(() => stack.disposeAsync())

/** A start of an agent, as far as its memory of the instance goes. */
async function start(
  of: Pick<Swtpm, 'tcti'> = swtpm,
  { instanceId = 'i-one', vmclock = join(directory, 'no-vmclock') } = {},
) {
  const tpm = instanceTpm(of.tcti, 10_000)
  stack.defer(() => tpm.close())
  const keys = await createInstanceKeys(tpm)
  const identity = {
    dialect: 'aliyun',
    instanceId,
    ekName: keys.ek.name,
    akName: keys.ak.name,
    rkName: keys.rk.name,
  }
  return continuityOf(tpm, identity, directory, (problem) => unwritten.push(problem), vmclock)
}

async function changeAtStart(...args: Parameters<typeof start>): Promise<InstanceChange> {
  return (await start(...args)).look()
}

describe('at a start', () => {
  test('the first finds nothing to compare with, the second the same run', async () => {
    expect(await changeAtStart()).toEqual({ kind: 'first-start' })
    expect(await changeAtStart()).toEqual({ kind: 'same-run' })
  })

  test('a TPM reset is a reboot, a TPM Restart a resumption', async () => {
    await changeAtStart()
    await swtpm.reset()
    expect(await changeAtStart()).toEqual({ kind: 'rebooted' })
    await swtpm.restartState()
    expect(await changeAtStart()).toEqual({ kind: 'resumed' })
  })

  test('another TPM is named with the EK that was', async () => {
    await changeAtStart()
    const { ekName } = JSON.parse(await readFile(join(directory, RECORD), 'utf8'))
    const other = await startSwtpm()
    stack.defer(() => other.stop())
    expect(await changeAtStart(other)).toEqual({ kind: 'tpm-changed', ekName })
    expect(await changeAtStart(other)).toEqual({ kind: 'same-run' })
  })

  test('another instance on the same TPM is named', async () => {
    await changeAtStart()
    const change = await changeAtStart(swtpm, { instanceId: 'i-two' })
    expect(change).toEqual({ kind: 'instance-changed', instanceId: 'i-one' })
  })

  test('a loss of power is a reboot, however far the clock went back', async () => {
    await changeAtStart()
    const before = JSON.parse(await readFile(join(directory, RECORD), 'utf8'))
    // As if the TPM had run for a day since it last saved its clock.
    const day = { ...before, clockMs: before.clockMs + 86_400_000 }
    await writeFile(join(directory, RECORD), JSON.stringify(day), { mode: 0o600 })
    await swtpm.reset()
    expect(await changeAtStart()).toEqual({ kind: 'rebooted' })
  })

  test('TPM2_Clear is told from a reboot', async () => {
    await changeAtStart()
    await tpm2(swtpm, 'clear', '-c', 'p')
    expect(await changeAtStart()).toEqual({ kind: 'tpm-cleared' })
    await swtpm.reset()
    expect(await changeAtStart()).toEqual({ kind: 'rebooted' })
  })

  test('a TPM whose state was put back has counters that went back', async () => {
    const kept = join(directory, 'kept-tpm')
    await changeAtStart()
    await swtpm.kill()
    await cp(swtpm.dir, kept, { recursive: true, filter: isState })
    await swtpm.start()
    for (let resets = 0; resets < 3; resets += 1) {
      await swtpm.reset()
      // Its answer says that it has started, and counted the reset.
      await tpm2(swtpm, 'getrandom', '--hex', '1')
    }
    expect(await changeAtStart()).toEqual({ kind: 'rebooted' })
    await swtpm.kill()
    await cp(kept, swtpm.dir, { recursive: true })
    await swtpm.start()
    expect(await changeAtStart()).toEqual({ kind: 'counters-back' })
  })

  test.each([
    ['not JSON', 'damaged'],
    ['of another version', '{"version":2}'],
    ['empty', ''],
  ])('a record that is %s counts as none', async (_what, text) => {
    await writeFile(join(directory, RECORD), text, { mode: 0o600 })
    expect(await changeAtStart()).toEqual({ kind: 'first-start' })
    expect(await changeAtStart()).toEqual({ kind: 'same-run' })
  })
})

/** Sockets are not copied: they are not state. */
function isState(path: string): boolean {
  return !/\/s(?:\.ctrl)?$/.test(path)
}

describe('while running', () => {
  /** A page of the kernel's vmclock device (Linux uapi, vmclock-abi.h). */
  async function writeVmclock(path: string, generation: bigint, disruption = 0n): Promise<void> {
    const page = Buffer.alloc(4096)
    page.write('VCLK', 0, 'latin1')
    page.writeBigUInt64LE(disruption, 16)
    page.writeBigUInt64LE(generation === 0n ? 0n : 1n << 8n, 24)
    page.writeBigUInt64LE(generation, 104)
    await writeFile(path, page)
  }

  const record = async () => JSON.parse(await readFile(join(directory, RECORD), 'utf8'))

  test('the record advances with each look, and the next start goes on from there', async () => {
    const continuity = await start()
    await continuity.look()
    const first = await record()
    await swtpm.reset()
    expect(await continuity.look()).toEqual({ kind: 'rebooted' })
    expect(await record()).toMatchObject({ resetCount: first.resetCount + 1 })
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    expect((await record()).clockMs).toBeGreaterThan(0)
    expect(await changeAtStart()).toEqual({ kind: 'same-run' })
  })

  test('two looks within a millisecond are of one run', () => {
    const names = { ekName: 'aa', akName: 'bb', rkName: 'cc', instanceId: 'i-one' }
    const record = { ...names, clockMs: 7, resetCount: 1, restartCount: 2, safe: true }
    expect(changeSince(record, { ...record })).toEqual({ kind: 'same-run' })
    expect(changeSince(record, { ...record, clockMs: 6 })).toEqual({ kind: 'counters-back' })
  })

  test('what it has seen itself counts, whatever becomes of the file', async () => {
    const continuity = await start()
    await continuity.look()
    await rm(join(directory, RECORD))
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    const other = { ...(await record()), ekName: 'ab'.repeat(34) }
    await writeFile(join(directory, RECORD), JSON.stringify(other), { mode: 0o600 })
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    expect((await record()).ekName).not.toBe(other.ekName)
  })

  test('what could not be written down is found again, and stops nobody', async () => {
    const vmclock = join(directory, 'vmclock')
    await writeVmclock(vmclock, 1n)
    const continuity = await start(swtpm, { vmclock })
    await continuity.look()
    await writeVmclock(vmclock, 2n)
    // Nothing can be put in the place of a directory.
    await rm(join(directory, RECORD))
    await mkdir(join(directory, RECORD))
    expect(await continuity.look()).toEqual({ kind: 'vm-generation' })
    expect(await continuity.look()).toEqual({ kind: 'vm-generation' })
    await rmdir(join(directory, RECORD))
    expect(await continuity.look()).toEqual({ kind: 'vm-generation' })
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    // Told once of each time.
    expect(unwritten.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
    await rm(join(directory, RECORD))
    await mkdir(join(directory, RECORD))
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    expect(unwritten.length).toBe(2)
  })

  test('another VM generation is seen once', async () => {
    const vmclock = join(directory, 'vmclock')
    await writeVmclock(vmclock, 1n)
    const continuity = await start(swtpm, { vmclock })
    expect(await continuity.look()).toEqual({ kind: 'first-start' })
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
    await writeVmclock(vmclock, 2n)
    expect(await continuity.look()).toEqual({ kind: 'vm-generation' })
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
  })

  test('so is another disruption marker, where the hypervisor counts no generations', async () => {
    const vmclock = join(directory, 'vmclock')
    await writeVmclock(vmclock, 0n, 5n)
    const continuity = await start(swtpm, { vmclock })
    await continuity.look()
    await writeVmclock(vmclock, 0n, 6n)
    expect(await continuity.look()).toEqual({ kind: 'vm-generation' })
  })

  test('a live migration, which moves the disruption marker alone, is none', async () => {
    const vmclock = join(directory, 'vmclock')
    await writeVmclock(vmclock, 1n, 5n)
    const continuity = await start(swtpm, { vmclock })
    await continuity.look()
    await writeVmclock(vmclock, 1n, 6n)
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
  })

  test('a file that is no vmclock page says nothing', async () => {
    const vmclock = join(directory, 'vmclock')
    await writeFile(vmclock, Buffer.alloc(4096, 1))
    const continuity = await start(swtpm, { vmclock })
    await continuity.look()
    await writeFile(vmclock, Buffer.alloc(4096, 2))
    expect(await continuity.look()).toEqual({ kind: 'same-run' })
  })
})
