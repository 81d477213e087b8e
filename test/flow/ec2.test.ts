import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { promisify } from 'node:util'
import { alicloudProvider } from 'metabind/alicloud'
import { openClient } from 'metabind/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'

// The same agent in front of another cloud: nothing but a table differs.

const run = promisify(execFile)
const INSTANCE_ID = '/latest/meta-data/instance-id'
let directory: string
let instance: Instance

beforeAll(async () => {
  directory = await mkdtemp('/tmp/metabind-ec2-')
  const port = await freePort()
  instance = await startInstance(directory, {
    cloud: 'ec2',
    instanceId: 'i-0123456789abcdef0',
    role: 'app@role',
    config: `[credentials_uri]\nenabled = true\nport = ${port}\n`,
  })
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

describe('the command line needs not be told which cloud it is', () => {
  const metabind = async (args: readonly string[], env = {}) => {
    const { stdout } = await run(process.execPath, [CLI, ...args], {
      // Nothing of the machine's own, which may have settings of AWS.
      env: { PATH: process.env.PATH, METABIND_SOCKET: instance.metadataSocket, ...env },
    })
    return stdout
  }
  const PRINT = ['sh', '-c', 'env | grep -E "^(ALIBABA|AWS)_" | sort']
  const STATIC = { AWS_ACCESS_KEY_ID: 'old', AWS_SESSION_TOKEN: 'old', AWS_PROFILE: 'old' }

  test('get', async () => {
    expect(await metabind(['get', 'instance-id'])).toBe('i-0123456789abcdef0')
  })

  test.each([
    ['of the instance', []],
    ['by name', ['app@role']],
  ])('credential prints the role %s as AWS expects it of a credential_process', async (_, args) => {
    const said = JSON.parse(await metabind(['credential', ...args]))
    expect(said).toEqual({
      Version: 1,
      AccessKeyId: expect.stringMatching(/^ASIA/),
      SecretAccessKey: expect.any(String),
      SessionToken: expect.any(String),
      Expiration: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    })
  })

  test('credential --uri prints a URL that has what AWS SDKs read', async () => {
    const url = (await metabind(['credential', '--uri'])).trim()
    const { stdout } = await run('curl', ['-sS', '--max-time', '60', url])
    expect(JSON.parse(stdout)).toMatchObject({
      AccessKeyId: expect.stringMatching(/^ASIA/),
      SecretAccessKey: expect.any(String),
      Token: expect.any(String),
      Expiration: expect.any(String),
    })
  })

  test('and so has fetch of Node, which sends Sec-Fetch-Mode, but nothing else that browsers send', async () => {
    const answer = await fetch((await metabind(['credential', '--uri'])).trim())
    expect(await answer.json()).toMatchObject({ AccessKeyId: expect.stringMatching(/^ASIA/) })
  })

  test('exec sets what AWS SDKs know, and takes away what would win over it', async () => {
    const said = await metabind(['exec', ...PRINT], STATIC)
    expect(said.trim().split('\n')).toEqual([
      expect.stringMatching(/^AWS_CONTAINER_CREDENTIALS_FULL_URI=http:.*\/app@role$/),
      'AWS_EC2_METADATA_DISABLED=true',
      'AWS_EC2_METADATA_V1_DISABLED=true',
      'AWS_SHARED_CREDENTIALS_FILE=/dev/null',
    ])
  })

  test('exec --with env sets the credentials themselves', async () => {
    const said = await metabind(['exec', '--with', 'env', '--', ...PRINT], STATIC)
    expect(said).toMatch(/^AWS_ACCESS_KEY_ID=ASIA/m)
    expect(said).toMatch(/^AWS_SECRET_ACCESS_KEY=./m)
    expect(said).toMatch(/^AWS_SESSION_TOKEN=(?!old)/m)
    expect(said).not.toContain('FULL_URI')
  })
})

test('our client for Node reads credentials, and says whose they are', async () => {
  const client = openClient({ socket: instance.metadataSocket })
  expect(await client.dialect()).toBe('ec2')
  expect(await client.role()).toBe('app@role')
  expect(await client.credentials()).toMatchObject({ dialect: 'ec2', role: 'app@role' })
})

test('the provider for the SDK of Alibaba Cloud refuses them', async () => {
  const provider = alicloudProvider(openClient({ socket: instance.metadataSocket }))
  await expect(provider.getCredentials()).rejects.toMatchObject({ code: 'SOURCE_CLOUD' })
})
