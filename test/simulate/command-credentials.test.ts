import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commandCredentials } from '../../src/simulate/command-credentials.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { scratch } from '../harness/metabind.ts'
import { startSimulatorCommand } from '../harness/simulator-command.ts'
import { get } from './request.ts'

/** Credentials that a real command prints. */

const ROLE = '/latest/meta-data/ram/security-credentials/EcsRamRole'
const HOUR_MS = 3_600_000

const stack = new AsyncDisposableStack()
let directory: string
const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())

/** As a credential_process of AWS prints them. */
const ofAws = (name: string, endMs: number) =>
  JSON.stringify({
    Version: 1,
    AccessKeyId: `ASIA${name}`,
    SecretAccessKey: `secret-${name}`,
    SessionToken: `token-${name}`,
    Expiration: new Date(endMs).toISOString(),
  })
/** As a process_command of Alibaba Cloud prints them. */
const ofAlibaba = (name: string, more: object = {}) =>
  JSON.stringify({
    mode: 'StsToken',
    access_key_id: `STS.${name}`,
    access_key_secret: `secret-${name}`,
    sts_token: `token-${name}`,
    ...more,
  })

/** A command that prints a file, and leaves a line for each of its runs. */
function printing(name: string, text: string, more = ''): { command: string; runs: () => number } {
  writeFileSync(at(name), text)
  const runs = at(`${name}.runs`)
  rmSync(runs, { force: true })
  const command = `echo run >> ${runs}; ${more} cat ${at(name)}`
  return {
    command,
    runs: () => (existsSync(runs) ? readFileSync(runs, 'utf8').trim().split('\n').length : 0),
  }
}

async function started(command: string, clock = { ms: Date.now() }) {
  const failures: string[] = []
  const now = () => clock.ms
  const credentials = commandCredentials(command, { now, onFailure: (why) => failures.push(why) })
  const simulator = await startSimulator({
    role: 'EcsRamRole',
    tokens: 'optional',
    credentials,
    now,
    control: true,
  })
  return {
    failures,
    clock,
    url: simulator.url,
    read: () => get(simulator.url, ROLE),
    rotate: () => simulator.rotateCredentials(),
    [Symbol.asyncDispose]: () => simulator.close(),
  }
}

describe('what a command prints is served as the role', () => {
  test.each([
    ['AWS', () => ofAws('A', Date.now() + HOUR_MS), 'ASIAA'],
    [
      'Alibaba Cloud',
      () => ofAlibaba('A', { expiration: new Date(Date.now() + HOUR_MS).toISOString() }),
      'STS.A',
    ],
    ['Alibaba Cloud, without an end', () => ofAlibaba('A'), 'STS.A'],
  ])('as for %s', async (_whose, text, id) => {
    await using simulator = await started(printing('good', text()).command)
    const { status, body } = await simulator.read()
    expect(status).toBe(200)
    expect(JSON.parse(body)).toEqual({
      AccessKeyId: id,
      AccessKeySecret: 'secret-A',
      SecurityToken: 'token-A',
      Expiration: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      LastUpdated: expect.any(String),
      Code: 'Success',
    })
    expect(Date.parse(JSON.parse(body).Expiration)).toBeGreaterThan(simulator.clock.ms)
  })

  test('with one run, however many ask at once', async () => {
    const { command, runs } = printing('once', ofAlibaba('A'), 'sleep 0.3;')
    await using simulator = await started(command)
    const answers = await Promise.all(Array.from({ length: 20 }, () => simulator.read()))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    await simulator.read()
    expect(runs()).toBe(1)
  })

  test('to whoever may read, and the command is run for nobody else', async () => {
    const { command, runs } = printing('refused', ofAlibaba('A'))
    const credentials = commandCredentials(command, { now: Date.now, onFailure: () => undefined })
    await using simulator = await startSimulator({ role: 'EcsRamRole', credentials })
    expect((await get(simulator.url, ROLE)).status).toBe(403)
    expect(runs()).toBe(0)
  })

  test('again before they end, and at once after a rotation', async () => {
    const clock = { ms: Date.now() }
    const { command, runs } = printing('renewed', ofAws('A', clock.ms + HOUR_MS))
    await using simulator = await started(command, clock)
    expect((await simulator.read()).body).toContain('ASIAA')
    writeFileSync(at('renewed'), ofAws('B', clock.ms + 3 * HOUR_MS))
    clock.ms += HOUR_MS - 301_000
    expect((await simulator.read()).body).toContain('ASIAA')
    clock.ms += 2_000
    expect((await simulator.read()).body).toContain('ASIAB')
    expect(runs()).toBe(2)
    simulator.rotate()
    await simulator.read()
    expect(runs()).toBe(3)
  })
})

describe('a command that fails', () => {
  test('is 503 and a line, and those held are served until they end', async () => {
    const clock = { ms: Date.now() }
    const { command, runs } = printing('failing', ofAws('A', clock.ms + HOUR_MS))
    await using simulator = await started(command, clock)
    await simulator.read()
    rmSync(at('failing'))
    clock.ms += HOUR_MS - 200_000
    expect(await simulator.read()).toMatchObject({ status: 200 })
    expect(simulator.failures).toEqual([
      expect.stringMatching(/^it ended with exit code 1: cat: .*failing: No such file/),
    ])
    // Not for each reader.
    await simulator.read()
    expect(runs()).toBe(2)
    clock.ms += 201_000
    expect(await simulator.read()).toMatchObject({
      status: 503,
      body: 'The credentials command gave none; the simulator has said why.',
    })
    writeFileSync(at('failing'), ofAws('B', clock.ms + HOUR_MS))
    clock.ms += 2_001
    expect((await simulator.read()).body).toContain('ASIAB')
  })

  test.each([
    ['prints nothing', '', 'no JSON object'],
    ['prints no JSON', 'none today', 'no JSON object'],
    ['prints a list', '[]', 'no JSON object'],
    [
      'prints keys that do not end',
      JSON.stringify({ Version: 1, AccessKeyId: 'AKIAX', SecretAccessKey: 'topsecret' }),
      'SessionToken: is missing: must be text in quotes',
    ],
    ['prints another mode', ofAlibaba('X', { mode: 'AK' }), 'mode: must be "StsToken"'],
    ['prints another version', '{"Version":2}', 'Version: must be 1'],
    ['prints what is no header', ofAlibaba('X\n'), 'access_key_id: must be characters'],
    ['prints no time', ofAlibaba('X', { expiration: 'soon' }), 'expiration: must be a time'],
    ['prints what has ended', ofAws('X', Date.now() - 1000), 'expired'],
  ])('as it %s says so, and nothing of what it printed', async (_what, text, why) => {
    await using simulator = await started(printing('bad', text).command)
    expect(await simulator.read()).toMatchObject({ status: 503 })
    expect(simulator.failures).toEqual([expect.stringContaining(why)])
    expect(simulator.failures.join()).not.toMatch(/topsecret|secret-X|token-X|none today/)
  })

  test('by printing without end is ended, with what it started', async () => {
    await using simulator = await started(`yes & echo $! > ${at('yes')}; wait`)
    expect(await simulator.read()).toMatchObject({ status: 503 })
    expect(simulator.failures).toEqual(['it printed more than 65536 bytes'])
    const pid = Number(readFileSync(at('yes'), 'utf8'))
    await expect.poll(() => isRunning(pid)).toBe(false)
  })

  test('by never ending is ended with the simulator', async () => {
    const simulator = await started(`echo $$ > ${at('sleeping')}; sleep 1000`)
    const reading = simulator.read().catch(() => undefined)
    await expect.poll(() => existsSync(at('sleeping'))).toBe(true)
    await simulator[Symbol.asyncDispose]()
    await reading
    await expect
      .poll(() => isRunning(Number(readFileSync(at('sleeping'), 'utf8').trim())))
      .toBe(false)
  })
})

/** Whether a process is there and has not ended; one that nobody has waited for yet has. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('metabind simulate says who can read them, and why there are none', async () => {
  const program = at('program')
  writeFileSync(program, `#!/bin/sh\ncat ${at('mine')}\n`)
  chmodSync(program, 0o755)
  const args = ['--tokens', 'optional', '--role', 'EcsRamRole', '--credentials-command', program]
  await using simulator = await startSimulatorCommand(...args)
  const url = simulator.lines[0]?.replace('listening on ', '') ?? ''
  await expect
    .poll(() => simulator.complaints)
    .toEqual([
      `metabind: real credentials are served: whoever can reach ${url} can read them`,
      expect.stringMatching(/^metabind: --credentials-command: it ended with exit code 1: cat: /),
    ])
  expect((await get(url, ROLE)).status).toBe(503)
  writeFileSync(at('mine'), ofAlibaba('M'))
  await expect.poll(async () => (await get(url, ROLE)).status).toBe(200)
  expect((await get(url, ROLE)).body).toContain('STS.M')
  expect(await simulator.stop()).toBe(0)
})
