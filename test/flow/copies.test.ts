import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulator } from '../../src/simulate/simulator.ts'
import type { LogRecord } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  type Answered,
  agentStatus,
  metabind,
  NOBODY,
  newToken,
  read,
  scratch,
} from '../harness/metabind.ts'

/**
 * What is copied from the instance that was robbed is worth nothing on the one of the thief: one
 * file, all files of the agent, or everything but the TPM.
 */

const ROBBED_ID = 'i-robbed'

const stack = new AsyncDisposableStack()
let robbed: Instance
let token: string
let iid: string

beforeAll(async () => {
  const { path } = stack.use(await scratch())
  robbed = await startInstance(path, { instanceId: ROBBED_ID })
  stack.defer(() => robbed.stop())
  token = await newToken(robbed)
  iid = (await agentStatus(robbed)).identity?.iid ?? ''
  expect(iid).toMatch(/^[0-9a-f]{32}$/)
  expect(await read(robbed, token)).toMatchObject({ status: 200, body: ROBBED_ID })
})
afterAll(() => stack.disposeAsync())

/** The thief's instance: another TPM, and what `prepare` puts into its directory. */
async function thief(
  options: Parameters<typeof startInstance>[1],
  prepare: (directory: string) => Promise<void> = async () => undefined,
) {
  const made = new AsyncDisposableStack()
  const { path } = made.use(await scratch())
  await prepare(path)
  const instance = await startInstance(path, options)
  made.defer(() => instance.stop())
  return { instance, [Symbol.asyncDispose]: () => made.disposeAsync() }
}

async function expectForeign(instance: Instance): Promise<void> {
  const plainRefusal: Partial<Answered> = {
    status: 401,
    body: 'TOKEN_INVALID: The session token is not valid.',
  }
  expect(await read(instance, token)).toMatchObject(plainRefusal)
  const record = await instance.agent.until(isForeign)
  expect(record).toMatchObject({
    level: 'warn',
    audit: true,
    code: 'TOKEN_FOREIGN',
    detail: `made where the iid begins ${iid.slice(0, 16)}`,
    caller: { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() },
    path: '/latest/meta-data/instance-id',
  })

  const file = join(instance.directory, 'stolen')
  await writeFile(file, token)
  const inspected = await metabind(instance, ['inspect', file])
  expect(inspected.code).toBe(4)
  expect(inspected.stdout).toContain('made on another instance')
  expect(inspected.stdout).toContain(iid.slice(0, 16))
  // The inspection is an event of its own, by another process.
  const ofInspection = (seen: LogRecord) => isForeign(seen) && seen !== record
  expect((await instance.agent.until(ofInspection)).caller).not.toEqual(record.caller)

  expect(await read(instance, await newToken(instance))).toMatchObject({ status: 200 })
  expect(instance.agent.output()).not.toContain(token)
}

function isForeign(record: LogRecord): boolean {
  return record.msg === 'token.foreign'
}

describe('on the instance of a thief', () => {
  test('a token file that was copied is refused', async () => {
    await using other = await thief({ instanceId: 'i-thief' })
    await expectForeign(other.instance)
  })

  test('it is refused where the run and state directories were copied with it', async () => {
    await using other = await thief({ instanceId: 'i-thief' }, async (directory) => {
      await cp(robbed.runtimeDirectory, join(directory, 'run'), { recursive: true })
      await cp(robbed.stateDirectory, join(directory, 'state'), { recursive: true })
    })
    await expectForeign(other.instance)
  })

  test('it is refused on a copy of the whole disk with the same instance id: the TPM is another', async () => {
    await using cloud = await startSimulator({ instanceId: ROBBED_ID })
    await using other = await thief({ source: cloud.url }, async (directory) => {
      for (const name of ['run', 'state', 'instance.toml', 'agent.log']) {
        await cp(join(robbed.directory, name), join(directory, name), { recursive: true })
      }
    })
    expect((await agentStatus(other.instance)).identity?.instanceId).toBe(ROBBED_ID)
    await expectForeign(other.instance)
  })

  test('it is refused where the source names another instance: the TPM alone is not enough', async () => {
    await using other = await thief({ instanceId: 'i-thief' }, async (directory) => {
      for (const name of ['run', 'state', 'tpm']) await mkdir(join(directory, name))
      await cp(robbed.tpm.dir, join(directory, 'tpm'), {
        recursive: true,
        filter: (path) =>
          !path.endsWith('/s') && !path.endsWith('.ctrl') && !path.endsWith('.lock'),
      })
      await cp(robbed.runtimeDirectory, join(directory, 'run'), { recursive: true })
    })
    const { identity } = await agentStatus(other.instance)
    expect(identity?.ekName).toBe((await agentStatus(robbed)).identity?.ekName)
    await expectForeign(other.instance)
  })
})

test('the audit record names the caller that presented it', async () => {
  await using other = await thief({ instanceId: 'i-thief' })
  const file = join(other.instance.directory, 'stolen')
  await writeFile(file, token)
  const presented = await metabind(other.instance, ['get', 'instance-id', '--token-file', file], {
    uid: NOBODY,
  })
  expect(presented).toMatchObject({ code: 1, stdout: '' })
  expect(presented.stderr).toMatch(/^metabind: TOKEN_INVALID: /)
  const record = await other.instance.agent.until(isForeign)
  expect(record.caller).toMatchObject({ uid: NOBODY, gid: NOBODY })
})
