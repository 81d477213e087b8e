import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { metabind, scratch } from '../harness/metabind.ts'
import { challengeOf, enrol, post } from './enrolling.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess, trustOf } from './registrar-process.ts'

/** One machine that lost something, and two that are one too many: agents, TPMs and their copies. */

const ID = 'i-forked'
const stack = new AsyncDisposableStack()
let directory: string
let original: Instance
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  original = await startInstance(join(directory, 'original'), { certified: true, instanceId: ID })
  stack.defer(() => original.stop())
})
afterAll(() => stack.disposeAsync())

let registrar: RegistrarProcess
let each: AsyncDisposableStack
let count = 0
beforeEach(async () => {
  count += 1
  each = new AsyncDisposableStack()
  const more = `${await trustOf(original.directory)}[[audience]]\nname = "sts.example"\n`
  registrar = await startRegistrarProcess(join(directory, `registrar-${count}`), more)
  each.defer(() => registrar.end())
})
afterEach(() => each.disposeAsync())

/** What a snapshot of the machine has: its TPM and its disk, in a directory of their own. */
async function snapshotOf(instance: Instance): Promise<string> {
  count += 1
  const taken = join(directory, `snapshot-${count}`)
  await mkdir(taken)
  for (const name of ['tpm', 'state', 'anchors']) {
    const isDisk = (path: string) => !/\/s(\.ctrl)?$/.test(path)
    await cp(join(instance.directory, name), join(taken, name), { recursive: true, filter: isDisk })
  }
  return taken
}

async function startedFrom(snapshot: string, instanceId = ID): Promise<Instance> {
  const instance = await startInstance(snapshot, { instanceId })
  each.defer(() => instance.stop())
  return instance
}

async function enrolled(instance: Instance, generation: number): Promise<number> {
  const { status, body } = await enrol(instance, registrar, { generation })
  expect(body).toMatchObject({ state: 'active' })
  expect(status).toBe(200)
  return Number(body.generation)
}

const refusedWith = (error: string) => ({ status: 403, body: expect.objectContaining({ error }) })

async function show(word = ID) {
  const { stdout } = await registrarCommand(registrar, 'show', word, '--json')
  return JSON.parse(stdout)
}

async function eventsOf(): Promise<readonly Record<string, unknown>[]> {
  const { stdout } = await registrarCommand(registrar, 'events')
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ event }) => event !== 'chain.start')
}

async function tokenStatus(instance: Instance): Promise<number> {
  const { stdout } = await metabind(instance, ['identity', '--audience', registrar.url])
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: stdout.trim(),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'sts.example',
  })
  return (await fetch(`${registrar.origin}/token`, { method: 'POST', body })).status
}

describe('one machine', () => {
  test('that loses replies goes on with the generation that it has', async () => {
    const first = await enrolled(original, 0)
    for (const lost of [1, 2]) {
      const { answer } = await challengeOf(original, registrar, { generation: first })
      expect((await post(registrar.origin, '/enrol', { answer })).body.generation).toBe(
        first + lost,
      )
    }
    const next = await enrolled(original, first)
    expect(await enrolled(original, next)).toBe(next + 1)
    expect((await eventsOf()).map(({ event }) => event)).toEqual(['instance.enrolled'])
  })

  test('whose disk is restored, and which forgot all, is let on and written down', async () => {
    let generation = 0
    for (let turn = 0; turn < 4; turn += 1) generation = await enrolled(original, generation)
    const restored = await enrolled(original, 2)
    const wiped = await enrolled(original, 0)
    expect(await enrolled(original, wiped)).toBeGreaterThan(restored)
    expect((await eventsOf()).map(({ event }) => event)).toEqual([
      'instance.enrolled',
      'instance.restored',
      'instance.restored',
    ])
    expect(await tokenStatus(original)).toBe(200)
  })

  test('that is restored from a snapshot, TPM and all, is let on', async () => {
    const snapshot = await snapshotOf(original)
    const generation = await enrolled(original, 0)
    await enrolled(original, generation)
    // The true one is gone; its successor is of an earlier state.
    const successor = await startedFrom(snapshot)
    const next = await enrolled(successor, generation)
    expect(await enrolled(successor, next)).toBe(next + 1)
    expect(await tokenStatus(successor)).toBe(200)
  })

  test('two enrolments of it that cross: the older one is told so and changes nothing', async () => {
    await enrolled(original, 0)
    const older = await challengeOf(original, registrar, { generation: 1 })
    const generation = await enrolled(original, 1)
    const late = await post(registrar.origin, '/enrol', { answer: older.answer })
    expect(late).toMatchObject({ status: 409, body: { error: 'ENROL_LATE' } })
    expect((await show()).generation).toBe(generation)
    expect(await enrolled(original, generation)).toBe(generation + 1)
  })
})

describe('two machines', () => {
  test('of one snapshot: at the second word of either both are out, and both are named', async () => {
    const shared = await enrolled(original, 0)
    const copy = await startedFrom(await snapshotOf(original))
    const own = await enrolled(original, shared)
    // Nobody can tell it from a machine whose reply was lost, or that was restored.
    await enrolled(copy, shared)
    expect(await enrol(original, registrar, { generation: own })).toMatchObject(
      refusedWith('ENROL_CLONED'),
    )
    expect(await tokenStatus(original)).toBe(400)
    expect(await tokenStatus(copy)).toBe(400)
    for (const one of [original, copy]) {
      expect(await enrol(one, registrar)).toMatchObject(refusedWith('ENROL_SUSPENDED'))
    }
    expect(await show()).toMatchObject({
      state: 'suspended',
      reason: expect.stringMatching(/last accepted from 127\.0\.0\.1, now from 127\.0\.0\.1$/),
    })
    const suspended = (await eventsOf()).find(({ event }) => event === 'instance.suspended')
    expect(suspended).toMatchObject({
      sources: ['127.0.0.1', '127.0.0.1'],
      clocks: [expect.stringMatching(/^\d+\/\d+\/\d+$/), expect.stringMatching(/^\d+\/\d+\/\d+$/)],
    })
    expect(suspended?.clocks).toEqual([...new Set(suspended?.clocks as string[])])

    // The copy is ended, and an administrator lets the other go on.
    await copy.stop()
    expect((await registrarCommand(registrar, 'approve', ID)).stdout).toContain('active')
    expect(await tokenStatus(original)).toBe(200)
    await enrolled(original, own)
  })

  test('one TPM under two instance ids: the second is refused, and the first suspended', async () => {
    await enrolled(original, 0)
    const other = await startedFrom(await snapshotOf(original), 'i-other')
    expect(await enrol(other, registrar)).toMatchObject(refusedWith('ENROL_CLONED'))
    const { state, reason } = await show()
    expect(state).toBe('suspended')
    expect(reason).toContain('its TPM is also that of aliyun:i-other')
    expect((await registrarCommand(registrar, 'show', 'i-other')).code).toBe(1)
  })

  test('another TPM under one instance id: refused, and the first is not harmed', async () => {
    await enrolled(original, 0)
    const at = join(directory, 'claimant')
    const claimant = await startInstance(at, { certified: true, instanceId: ID })
    each.defer(() => claimant.stop())
    await registrar.end()
    const trust = await trustOf(original.directory, claimant.directory)
    registrar = await startRegistrarProcess(join(registrar.config, '..'), trust)
    expect(await enrol(claimant, registrar)).toMatchObject({
      status: 409,
      body: { error: 'ENROL_REINSTALLED' },
    })
    expect((await show()).state).toBe('active')
    // It was made anew: an administrator says so.
    await registrarCommand(registrar, 'evict', ID, '--reason', 'made anew')
    expect(await enrol(claimant, registrar)).toMatchObject({ status: 200 })
    expect(await enrol(original, registrar)).toMatchObject({ status: 409 })
  })
})

describe('what administrators say', () => {
  test('suspended, evicted and banned are three things', async () => {
    const done = async (...args: string[]) => {
      const finished = await registrarCommand(registrar, ...args)
      expect(finished.stderr).toBe('')
      expect(finished.code).toBe(0)
      return finished.stdout
    }
    const generation = await enrolled(original, 0)
    await done('suspend', ID, '--reason', 'looks odd')
    expect(await tokenStatus(original)).toBe(400)
    expect(await enrol(original, registrar, { generation })).toMatchObject(
      refusedWith('ENROL_SUSPENDED'),
    )
    await done('approve', ID)
    expect(await tokenStatus(original)).toBe(200)

    const { iid } = await show()
    await done('evict', ID)
    expect(await tokenStatus(original)).toBe(400)
    const anew = await enrolled(original, 0)
    expect((await show()).iid).toBe(iid)

    await done('ban', ID)
    expect(await enrol(original, registrar, { generation: anew })).toMatchObject(
      refusedWith('ENROL_BANNED'),
    )
    expect((await registrarCommand(registrar, 'approve', ID)).stderr).toContain('REGISTRAR_STATE')
    expect((await eventsOf()).map(({ event }) => event)).toEqual([
      'instance.enrolled',
      'instance.suspended',
      'instance.approved',
      'instance.evicted',
      'instance.enrolled',
      'instance.banned',
    ])
    expect((await eventsOf())[1]).toMatchObject({
      reason: 'looks odd',
      by: `uid ${process.getuid?.()}`,
      was: 'active',
    })
  })
})
