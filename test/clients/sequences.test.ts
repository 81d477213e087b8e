import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import { APP, type Guarded, startGuarded } from '../harness/guarded.ts'
import { type Application, startApplication } from './application.ts'

/**
 * What unmodified clients send, byte for byte as far as HTTP goes: recorded by the metadata service
 * through lockdown in observing mode, and compared with what was found by reading and tracing them.
 */

const isRoot = process.getuid?.() === 0
const ROLES = '/latest/meta-data/ram/security-credentials/'

let guarded: Guarded
const applications: Application[] = []

const line = ({ method, target, status }: RecordedRequest) => `${method} ${target} ${status}`

function hasHeader({ rawHeaders }: RecordedRequest, name: string): boolean {
  return rawHeaders.some((header, at) => at % 2 === 0 && header.toLowerCase() === name)
}

function application(env: Record<string, string> = {}): Application {
  const started = startApplication(guarded.networks, APP, env)
  applications.push(started)
  return started
}

describe.skipIf(!isRoot)('request sequences with tokens required', () => {
  beforeAll(async () => {
    guarded = await startGuarded()
    await guarded.lockdown('on', '--observe')
    await guarded.cloud.requests()
  })
  afterEach(async () => {
    await Promise.all(applications.splice(0).map((one) => one.end()))
    await guarded.cloud.fault(undefined)
    await guarded.cloud.requests()
  })
  afterAll(() => guarded?.stop())

  test('@alicloud/credentials without a role: two tokens, one for each read', async () => {
    await application().credentials(null)
    const sent = await guarded.cloud.requests()
    expect(sent.map(line)).toEqual([
      'PUT /latest/api/token 200',
      `GET ${ROLES} 200`,
      'PUT /latest/api/token 200',
      `GET ${ROLES}app-role 200`,
    ])
    expect(sent.map((one) => hasHeader(one, 'x-aliyun-ecs-metadata-token'))).toEqual([
      false,
      true,
      false,
      true,
    ])
    expect(sent.some((one) => hasHeader(one, 'user-agent'))).toBe(false)
    expect(sent[0]?.rawHeaders).toContain('21600')
  })

  test('@alicloud/credentials with a role: one of each', async () => {
    await application().credentials({ type: 'ecs_ram_role', roleName: 'app-role' })
    expect((await guarded.cloud.requests()).map(line)).toEqual([
      'PUT /latest/api/token 200',
      `GET ${ROLES}app-role 200`,
    ])
  })

  test.each([400, 403, 404, 405, 503])(
    '@alicloud/credentials after a token answer of %i reads without one',
    async (code) => {
      await guarded.cloud.fault({ kind: 'status', code, method: 'PUT' })
      const got = await application().credentials({ type: 'ecs_ram_role', roleName: 'app-role' })
      expect((await guarded.cloud.requests()).map(line)).toEqual([
        `PUT /latest/api/token ${code}`,
        `GET ${ROLES}app-role 403`,
      ])
      expect(got.error).toMatch(/403/)
    },
  )

  test('@alicloud/credentials with v1 disabled does not', async () => {
    await guarded.cloud.fault({ kind: 'status', code: 503, method: 'PUT' })
    const config = { type: 'ecs_ram_role', roleName: 'app-role', disableIMDSv1: true }
    expect((await application().credentials(config)).error).toMatch(/503/)
    expect((await guarded.cloud.requests()).map(line)).toEqual(['PUT /latest/api/token 503'])
  })

  test('@alicloud/credentials repeats a refused read without its token', async () => {
    await guarded.cloud.fault({ kind: 'status', code: 401, method: 'GET', times: 1 })
    await application().credentials({ type: 'ecs_ram_role', roleName: 'app-role' })
    expect((await guarded.cloud.requests()).map(line)).toEqual([
      'PUT /latest/api/token 200',
      `GET ${ROLES}app-role 401`,
      `GET ${ROLES}app-role 403`,
    ])
  })
})
