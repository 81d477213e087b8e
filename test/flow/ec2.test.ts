import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'

// The same agent in front of another cloud: nothing but a table differs.

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const INSTANCE_ID = '/latest/meta-data/instance-id'
let directory: string
let instance: Instance

beforeAll(async () => {
  directory = await mkdtemp('/tmp/metabind-ec2-')
  instance = await startInstance(directory, { cloud: 'ec2', instanceId: 'i-0123456789abcdef0' })
})
afterAll(async () => {
  await instance.stop()
  await rm(directory, { recursive: true })
})

interface Answered {
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

function ask(method: string, path: string, headers: Record<string, string>): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: instance.metadataSocket, method, path, headers }
    const sent = request(options, (answer) => {
      let body = ''
      answer.on('data', (chunk) => {
        body += chunk
      })
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

async function makeToken(): Promise<string> {
  const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': '60' }
  const answer = await ask('PUT', '/latest/api/token', headers)
  expect(answer.status).toBe(200)
  // Two AWS SDKs fail without the echo.
  expect(answer.headers['x-aws-ec2-metadata-token-ttl-seconds']).toBe('60')
  return answer.body
}

test('a token is made and used with the headers of IMDSv2', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  const answer = await ask('GET', INSTANCE_ID, headers)
  expect(answer).toMatchObject({ status: 200, body: 'i-0123456789abcdef0' })
})

test('a read without a token is answered 401, where ECS answers 403', async () => {
  expect(await ask('GET', INSTANCE_ID, {})).toMatchObject({
    status: 401,
    body: 'TOKEN_MISSING: A session token is required.',
  })
})

test('the headers of ECS mean nothing', async () => {
  const headers = { 'X-aliyun-ecs-metadata-token': await makeToken() }
  expect((await ask('GET', INSTANCE_ID, headers)).status).toBe(401)
  const ttl = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }
  expect((await ask('PUT', '/latest/api/token', ttl)).status).toBe(400)
})

test('dated versions are relayed, those of ECS do not exist', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  expect((await ask('GET', '/2009-04-04/meta-data/instance-id', headers)).status).toBe(200)
  expect((await ask('GET', '/2016-01-01/meta-data/instance-id', headers)).status).toBe(404)
})

test('a path with two slashes is the same path, as one of the SDKs sends it', async () => {
  const headers = { 'X-aws-ec2-metadata-token': await makeToken() }
  expect((await ask('GET', `/${INSTANCE_ID}`, headers)).body).toBe('i-0123456789abcdef0')
})

test('the command line needs not be told which cloud it is', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'get', 'instance-id'], {
    env: { ...process.env, METABIND_SOCKET: instance.metadataSocket },
  })
  expect(stdout).toBe('i-0123456789abcdef0')
})
