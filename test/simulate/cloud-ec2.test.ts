import { afterAll, beforeAll, expect, test } from 'vitest'
import { ec2Cloud } from '../../src/simulate/cloud-ec2.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'

let cloud: Simulator

beforeAll(async () => {
  cloud = await startSimulator({ cloud: ec2Cloud, instanceId: 'i-0123456789abcdef0', role: 'app' })
})
afterAll(() => cloud.close())

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${cloud.url}${path}`, { headers })

async function makeToken(): Promise<string> {
  const answer = await fetch(`${cloud.url}/latest/api/token`, {
    method: 'PUT',
    headers: { 'X-aws-ec2-metadata-token-ttl-seconds': '60' },
  })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('x-aws-ec2-metadata-token-ttl-seconds')).toBe('60')
  return answer.text()
}

test('a read without a token is refused with 401, as at AWS', async () => {
  expect((await get('/latest/meta-data/instance-id')).status).toBe(401)
})

test('a read with a token and X-Forwarded-For is refused with 403', async () => {
  const token = await makeToken()
  const headers = { 'X-aws-ec2-metadata-token': token, 'X-Forwarded-For': '192.0.2.1' }
  expect((await get('/latest/meta-data/instance-id', headers)).status).toBe(403)
})

test('the headers of another cloud mean nothing', async () => {
  const token = await makeToken()
  const headers = { 'X-aliyun-ecs-metadata-token': token }
  expect((await get('/latest/meta-data/instance-id', headers)).status).toBe(401)
})

test('role credentials have the members that AWS SDKs read', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  const path = '/latest/meta-data/iam/security-credentials'
  expect(await (await get(`${path}/`, headers)).text()).toBe('app')
  const credentials: object = JSON.parse(await (await get(`${path}/app`, headers)).text())
  expect(Object.keys(credentials)).toEqual([
    'Code',
    'LastUpdated',
    'Type',
    'AccessKeyId',
    'SecretAccessKey',
    'Token',
    'Expiration',
  ])
})

test('a leaf answers with a slash after it too, as botocore asks for the zone', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  const path = '/latest/meta-data/placement/availability-zone'
  expect(await (await get(`${path}/`, headers)).text()).toBe('eu-central-1a')
  expect(await (await get(path, headers)).text()).toBe('eu-central-1a')
})

test('a directory without its slash leads to itself with it', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  const path = '/latest/meta-data/iam/security-credentials'
  const answer = await fetch(`${cloud.url}${path}`, { headers, redirect: 'manual' })
  expect([answer.status, answer.headers.get('location')]).toEqual([
    301,
    `http://169.254.169.254${path}/`,
  ])
})

test('every listed path answers', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  const walk = async (path: string): Promise<number> => {
    const answer = await get(path, headers)
    expect(answer.status, path).toBe(200)
    if (!path.endsWith('/')) return 1
    const names = (await answer.text()).split('\n')
    const counts = await Promise.all(names.map((name) => walk(path + name)))
    return counts.reduce((sum, one) => sum + one, 0)
  }
  expect(await walk('/latest/')).toBeGreaterThan(20)
})
