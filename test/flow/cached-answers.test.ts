import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { type Client, clientOf } from './requests.ts'

const ID = '/latest/meta-data/instance-id'
const HOSTNAME = '/latest/meta-data/hostname'
const ROLE = '/latest/meta-data/ram/security-credentials/demo-role'
const NOBODY = '65534'

let directory: string
let instance: Instance
let client: Client

beforeAll(async () => {
  directory = await mkdtemp('/tmp/mb-cached-')
  // Another user has to reach the socket.
  await chmod(directory, 0o711)
  instance = await startInstance(directory)
  client = await clientOf(instance.metadataSocket)
})

afterAll(async () => {
  client.close()
  await instance.stop()
  await rm(directory, { recursive: true })
})

const verdict = ({ headers }: { headers: Record<string, unknown> }) => [
  headers['x-metabind-cache'],
  headers.age,
]

function readsOf(path: string): number {
  const requests = instance.cloud?.requests ?? []
  return requests.filter(({ method, target }) => method === 'GET' && target === path).length
}

describe('the headers of an answer', () => {
  test('say miss and no age, then hit', async () => {
    expect(verdict(await client.get(ROLE))).toEqual(['miss', '0'])
    expect(verdict(await client.get(ROLE))).toEqual(['hit', expect.stringMatching(/^[0-9]$/)])
  })

  test('what the agent asked for at its start is a hit for the first reader', async () => {
    expect(verdict(await client.get(ID))[0]).toBe('hit')
  })

  test('are those of GET on HEAD, without a body', async () => {
    const got = await client.get(ID)
    const head = await client.ask('HEAD', ID)
    expect([head.status, head.body]).toEqual([200, ''])
    expect(head.headers['content-length']).toBe(String(got.body.length))
    expect(verdict(head)[0]).toBe('hit')
  })

  test('are on a 404 as well', async () => {
    const path = '/latest/meta-data/none'
    const first = await client.get(path)
    const second = await client.get(path)
    expect([first.status, verdict(first)]).toEqual([404, ['miss', '0']])
    expect([second.status, verdict(second)[0]]).toEqual([404, 'hit'])
    expect(second.body).toMatch(/^METADATA_ABSENT: /)
    expect(readsOf(path)).toBe(1)
  })

  test('are not on refusals and tokens', async () => {
    const refused = await client.ask('DELETE', ID)
    const token = await client.ask('PUT', aliyun.tokenPath, { [aliyun.ttlHeader]: '60' })
    expect([refused.status, verdict(refused)]).toEqual([405, [undefined, undefined]])
    expect([token.status, verdict(token)]).toEqual([200, [undefined, undefined]])
  })
})

test('a role that cannot be assumed is refused with the Code, and leaves one line in the log', async () => {
  const path = '/2016-01-01/meta-data/ram/security-credentials/demo-role'
  const code = 'AssumeRoleUnauthorizedAccess'
  instance.cloud?.faults.set({ kind: 'credentials', code })
  const answers = [await client.get(path), await client.get(path)]
  await setTimeout(1500)
  answers.push(await client.get(path))
  const body = `SOURCE_ROLE: The cloud gives no credentials for this role. Its Code is ${code}.`
  expect(answers.map((answer) => [answer.status, answer.body])).toEqual(Array(3).fill([502, body]))
  expect(readsOf(path)).toBe(2)
  instance.cloud?.faults.clear()
  const told = instance.agent.records.filter(
    (record) => record.code === 'SOURCE_ROLE' && record.roleCode === code,
  )
  expect(told).toHaveLength(1)
  expect(told[0]).toMatchObject({ path, remedy: expect.stringContaining('trust policy') })
})

describe('Cache-Control: no-cache', () => {
  test('of root asks the source', async () => {
    await client.get(HOSTNAME)
    const before = readsOf(HOSTNAME)
    const headers = { 'Cache-Control': 'no-cache' }
    expect(verdict(await client.get(HOSTNAME, headers))).toEqual(['miss', '0'])
    expect(readsOf(HOSTNAME)).toBe(before + 1)
  })

  test('of anybody else asks the cache', async () => {
    await client.get(HOSTNAME)
    const before = readsOf(HOSTNAME)
    const answer = await curlAsNobody('GET', HOSTNAME, { 'Cache-Control': 'no-cache' })
    expect(answer).toMatch(/^x-metabind-cache: hit\r$/im)
    expect(readsOf(HOSTNAME)).toBe(before)
  })
})

/** What curl prints, headers and body, as a caller with another uid and a token of its own. */
async function curlAsNobody(method: string, path: string, headers: Record<string, string>) {
  const token = await curl('PUT', aliyun.tokenPath, { [aliyun.ttlHeader]: '60' })
  return curl(method, path, {
    ...headers,
    [aliyun.tokenHeader]: token.split('\r\n\r\n')[1] ?? '',
  })
}

async function curl(method: string, path: string, headers: Record<string, string>) {
  const sent = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const { stdout } = await promisify(execFile)('setpriv', [
    ...['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups'],
    ...['curl', '-s', '-i', '--max-time', '60', '--unix-socket', instance.metadataSocket],
    ...['-X', method, ...sent, `http://metadata${path}`],
  ])
  return stdout
}
