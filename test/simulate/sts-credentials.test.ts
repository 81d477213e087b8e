import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get } from './request.ts'

const ROLE = '/latest/meta-data/ram/security-credentials/EcsRole'
const START_MS = Date.parse('2026-01-02T03:04:05.678Z')
const HOUR_MS = 3_600_000

let wallMs = START_MS
let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator({ role: 'EcsRole', tokens: 'optional', now: () => wallMs })
})
afterAll(() => simulator.close())
beforeEach(() => {
  wallMs = START_MS
  simulator.faults.clear()
  simulator.rotateCredentials()
})

const body = async () => (await get(simulator.url, ROLE)).body
const members = async (): Promise<Record<string, string>> => JSON.parse(await body())

test('credentials have the six members, in the spacing of ECS', async () => {
  expect(await body()).toMatch(
    new RegExp(
      [
        /^\{\n {2}"AccessKeyId" : "STS\.[A-Za-z0-9]{25}",/,
        /\n {2}"AccessKeySecret" : "[A-Za-z0-9]{44}",/,
        /\n {2}"Expiration" : "2026-01-02T09:04:05Z",/,
        /\n {2}"SecurityToken" : "CAIS[A-Za-z0-9+/]{512}",/,
        /\n {2}"LastUpdated" : "2026-01-02T03:04:05Z",/,
        /\n {2}"Code" : "Success"\n\}$/,
      ]
        .map((line) => line.source)
        .join(''),
    ),
  )
})

test('the same bytes come until 30 minutes before the end, then new ones', async () => {
  const first = await body()
  wallMs += 5.5 * HOUR_MS - 1
  expect(await body()).toBe(first)
  wallMs += 1
  const second = await members()
  expect(second).toMatchObject({
    LastUpdated: '2026-01-02T08:34:05Z',
    Expiration: '2026-01-02T14:34:05Z',
  })
  expect(second.AccessKeyId).not.toBe(JSON.parse(first).AccessKeyId)
  expect(second.SecurityToken).not.toBe(JSON.parse(first).SecurityToken)
})

test('the role can be exchanged and taken away while it runs', async () => {
  const list = ROLE.slice(0, ROLE.lastIndexOf('/'))
  const first = await members()
  simulator.setRole('Other')
  expect((await get(simulator.url, list)).body).toBe('Other')
  expect((await get(simulator.url, ROLE)).status).toBe(404)
  const other = JSON.parse((await get(simulator.url, `${list}/Other`)).body)
  expect(other.AccessKeyId).not.toBe(first.AccessKeyId)
  simulator.setRole(undefined)
  expect((await get(simulator.url, list)).status).toBe(404)
  expect(() => simulator.setRole('a/b')).toThrow('not a name')
  simulator.setRole('EcsRole')
  expect((await members()).Code).toBe('Success')
})

test('they rotate on demand', async () => {
  const first = await members()
  simulator.rotateCredentials()
  expect((await members()).AccessKeyId).not.toBe(first.AccessKeyId)
})

test('a shorter life is halved, so that two sets overlap still', async () => {
  await using brief = await startSimulator({
    role: 'EcsRole',
    tokens: 'optional',
    credentialLifetimeSeconds: 60,
    now: () => wallMs,
  })
  const first = (await get(brief.url, ROLE)).body
  expect(JSON.parse(first).Expiration).toBe('2026-01-02T03:05:05Z')
  wallMs += 29_999
  expect((await get(brief.url, ROLE)).body).toBe(first)
  wallMs += 1
  expect((await get(brief.url, ROLE)).body).not.toBe(first)
})

describe('fault credentials', () => {
  test('expired: both times end a second ago', async () => {
    simulator.faults.set({ kind: 'credentials', expired: true })
    expect(await members()).toMatchObject({
      Expiration: '2026-01-02T03:04:04Z',
      LastUpdated: '2026-01-01T21:04:04Z',
      Code: 'Success',
    })
  })

  test.each([
    ...(['AccessKeyId', 'AccessKeySecret', 'Expiration'] as const),
    ...(['SecurityToken', 'LastUpdated', 'Code'] as const),
  ])('missing: %s is left out, the rest stays', async (missing) => {
    const { [missing]: _, ...rest } = await members()
    simulator.faults.set({ kind: 'credentials', missing })
    expect(await members()).toEqual(rest)
  })

  test('code: Code says so', async () => {
    simulator.faults.set({ kind: 'credentials', code: 'AssumeRoleUnauthorized' })
    expect((await members()).Code).toBe('AssumeRoleUnauthorized')
  })

  test('skewSeconds: both times move', async () => {
    simulator.faults.set({ kind: 'credentials', skewSeconds: -300 })
    expect(await members()).toMatchObject({
      Expiration: '2026-01-02T08:59:05Z',
      LastUpdated: '2026-01-02T02:59:05Z',
    })
  })

  test('counts and touches answers with credentials only', async () => {
    simulator.faults.set({ kind: 'credentials', code: 'Failed', times: 1 })
    const listing = await get(simulator.url, '/latest/meta-data/ram/security-credentials/')
    expect(listing.body).toBe('EcsRole')
    expect((await members()).Code).toBe('Failed')
    expect((await members()).Code).toBe('Success')
  })

  test('leaves a refusal alone', async () => {
    simulator.faults.set({ kind: 'credentials', expired: true })
    expect((await get(simulator.url, ROLE, 'aaa')).body).toBe('Unauthorized')
  })
})
