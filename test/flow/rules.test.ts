import { readdir, readFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { bootTimeMs } from 'metabind-linux'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { tokenAuthority } from '../../src/token/authority.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { keysOnTpm } from '../harness/keys.ts'
import {
  ask,
  newToken,
  read,
  scratch,
  statusOf,
  TOKEN_HEADER,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/metabind.ts'

/** The rules of ECS security-enhanced mode, a test or a group of tests each. */

const stack = new AsyncDisposableStack()
let here: Instance
let elsewhere: Instance

async function instance(instanceId: string): Promise<Instance> {
  const { path } = stack.use(await scratch())
  const started = await startInstance(path, { instanceId })
  stack.defer(() => started.stop())
  return started
}

beforeAll(async () => {
  here = await instance('i-here')
  elsewhere = await instance('i-elsewhere')
})
afterAll(() => stack.disposeAsync())

const askToken = (headers: Record<string, string>) =>
  ask(here.metadataSocket, 'PUT', TOKEN_PATH, headers)

describe('a token is valid on the one instance that it was made for', () => {
  test('it is good there, and a copy of it is refused on another', async () => {
    const token = await newToken(here)
    expect(await read(here, token)).toMatchObject({ status: 200, body: 'i-here' })
    const refused = await read(elsewhere, token)
    expect(refused).toMatchObject({
      status: 401,
      body: 'TOKEN_INVALID: The session token is not valid.',
    })
  })

  test('and the other way round', async () => {
    const token = await newToken(elsewhere)
    expect(await statusOf(elsewhere, token)).toBe(200)
    expect(await statusOf(here, token)).toBe(401)
  })
})

describe('a token has a validity of 1 to 21,600 whole seconds, given by the requester', () => {
  test.each(['1', '2', '3600', '21599', '21600'])('%s seconds are given', async (ttl) => {
    const answer = await askToken({ [TTL_HEADER]: ttl })
    expect(answer.status).toBe(200)
    expect(answer.headers[TTL_HEADER.toLowerCase()]).toBe(ttl)
  })

  test.each([
    ...['0', '-1', '21601', '99999', '100000', '1.5', '1,5', '1e3', '0x10', '+5', '007', '', 'abc'],
    ...['60s', '6 0', '60;', '18446744073709551617', 'Infinity', 'NaN', 'true'],
  ])('"%s" is refused', async (ttl) => {
    const answer = await askToken({ [TTL_HEADER]: ttl })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatch(/^TOKEN_TTL: /)
  })

  test('no validity at all is refused', async () => {
    expect(await askToken({})).toMatchObject({ status: 400 })
  })
})

test('a token can be used any number of times until it expires', async () => {
  const keptAlive = new Agent({ keepAlive: true })
  const use = (token: string, on?: Agent) =>
    ask(here.metadataSocket, 'GET', '/metabind/v1/whoami', headerOf(token), on)
  const lasting = await newToken(here, 21_600)
  for (let uses = 0; uses < 500; uses += 1) {
    expect((await use(lasting, uses % 10 === 0 ? undefined : keptAlive)).status).toBe(200)
  }
  // A token's time counts from the whole millisecond in which it was made.
  const askedAtMs = Math.floor(bootTimeMs())
  const short = await newToken(here, 1)
  let answer = await use(short, keptAlive)
  while (answer.status === 200) answer = await use(short, keptAlive)
  expect(answer).toMatchObject({
    status: 401,
    body: 'TOKEN_EXPIRED: The session token has expired.',
  })
  expect(bootTimeMs()).toBeGreaterThanOrEqual(askedAtMs + 1000)
  keptAlive.destroy()
})

describe('at expiry the session is closed and the token is gone', () => {
  /** A token that was good, and is over. */
  async function endedToken(): Promise<string> {
    for (;;) {
      const askedAtMs = bootTimeMs()
      const token = await newToken(here, 1)
      const status = await statusOf(here, token)
      if (bootTimeMs() < askedAtMs + 1000) expect(status).toBe(200)
      await delay(1001)
      // Else this machine was away for all of its second.
      if (status === 200) return token
    }
  }

  test('it is refused from then on, after a restart too', async () => {
    const token = await endedToken()
    expect(await statusOf(here, token)).toBe(401)
    await here.restartAgent()
    expect(await statusOf(here, token)).toBe(401)
  })

  test('nothing of it remains on disk or in the log', async () => {
    const token = await endedToken()
    expect(await statusOf(here, token)).toBe(401)
    const random = Buffer.from(token, 'base64url').subarray(24, 32)
    const traces = [token, token.slice(33), random.toString('hex'), random.toString('base64url')]
    const files = await filesBelow(here.directory)
    expect(files.map(({ name }) => name)).toContain(join(here.runtimeDirectory, 'salt'))
    for (const { name, bytes } of files) {
      for (const trace of [...traces.map((text) => Buffer.from(text)), random]) {
        expect(bytes.includes(trace), `${trace.toString('latin1')} in ${name}`).toBe(false)
      }
    }
    for (const trace of traces) expect(here.agent.output()).not.toContain(trace)
  })
})

test.each([
  ['X-Forwarded-For', '203.0.113.7'],
  ['x-forwarded-for', '203.0.113.7'],
  ['X-FORWARDED-FOR', '127.0.0.1, 10.0.0.1'],
  ['x-FORWARDED-for', ''],
  ['X-Forwarded-For', 'unknown'],
])('a token request with %s: "%s" is refused', async (name, value) => {
  const answer = await askToken({ [TTL_HEADER]: '60', [name]: value })
  expect(answer.status).toBe(403)
  expect(answer.body).toMatch(/^REQUEST_FORWARDED: /)
})

describe('the number of tokens is not limited', () => {
  const MILLION = 1_000_000

  test('a million live tokens cost no more memory than one', { timeout: 120_000 }, async () => {
    await using made = await keysOnTpm(elsewhere.tpm.tcti)
    const keys = made.keys()
    await keys.refresh()
    const tokens = tokenAuthority(keys, bootTimeMs, () => ['uid'])
    const caller = { pid: 1, uid: 1000, gid: 1000, groups: [1000], namespaces: [] }
    const kept: string[] = []
    const issueMany = (many: number) => {
      for (let made = 0; made < many; made += 1) {
        const token = tokens.issue(21_600, caller)
        if (made % 50_000 === 0) kept.push(token.reveal())
      }
    }
    issueMany(50_000)
    const before = collectedMemory()
    issueMany(MILLION)
    const after = collectedMemory()
    expect(new Set(kept).size).toBe(21)
    for (const text of kept) expect(tokens.redeem(text, caller).uid).toBe(1000)
    // One pointer kept for each token would be 8 MB; what the runtime keeps of its own is 1 MB.
    expect(after.heapBytes - before.heapBytes).toBeLessThan(4 * MILLION)
    expect(after.rssBytes - before.rssBytes).toBeLessThan(32 * MILLION)
    keys.clear()
  })

  test('the agent does not grow with the tokens that it gives out', {
    timeout: 240_000,
  }, async () => {
    const keptAlive = new Agent({ keepAlive: true, maxSockets: 16 })
    const issueMany = async (many: number): Promise<string[]> => {
      const sent = Array.from({ length: many }, () =>
        ask(here.metadataSocket, 'PUT', TOKEN_PATH, { [TTL_HEADER]: '21600' }, keptAlive),
      )
      return (await Promise.all(sent)).map(({ body }) => body)
    }
    // In all fewer than `mint_burst`: a fast machine makes them before any room has come back.
    for (let warm = 0; warm < 2; warm += 1) await issueMany(1000)
    const beforeBytes = await residentBytes(here.agent.child.pid)
    const tokens: string[] = []
    for (let round = 0; round < 8; round += 1) tokens.push(...(await issueMany(2000)))
    const afterBytes = await residentBytes(here.agent.child.pid)
    keptAlive.destroy()
    expect(new Set(tokens).size).toBe(16_000)
    expect(await statusOf(here, tokens[0] ?? '')).toBe(200)
    expect(await statusOf(here, tokens.at(-1) ?? '')).toBe(200)
    // A kibibyte kept of each would be 16 MiB; the collector's own swing is less.
    expect(afterBytes - beforeBytes).toBeLessThan(12 * 1024 * 1024)
  })
})

describe('reads without a valid token are refused', () => {
  const PATHS = [
    ...['/', '/latest', '/latest/', '/latest/meta-data/', '/latest/meta-data/instance-id'],
    ...['/latest/meta-data/ram/security-credentials/demo-role', '/latest/user-data'],
    ...['/latest/dynamic/instance-identity/document', '/2016-01-01/meta-data/mac'],
    ...['/metabind/v1/whoami', '/no/such/thing'],
  ]

  test.each(PATHS)('%s without a token', async (path) => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(here.metadataSocket, method, path)
      expect(answer.status, method).toBe(403)
      if (method === 'GET') expect(answer.body).toBe('TOKEN_MISSING: A session token is required.')
    }
  })

  test.each(PATHS)('%s with a token that is none', async (path) => {
    for (const token of ['', 'x', 'A'.repeat(86), 'A'.repeat(4000)]) {
      const answer = await ask(here.metadataSocket, 'GET', path, headerOf(token))
      expect(answer.status, token).toBe(401)
      expect(answer.body).toBe('TOKEN_INVALID: The session token is not valid.')
    }
  })

  test('the source is not even asked', async () => {
    const asked = here.cloud?.requests.length
    await ask(here.metadataSocket, 'GET', '/latest/meta-data/mac')
    await ask(here.metadataSocket, 'GET', '/latest/meta-data/mac', headerOf('A'.repeat(86)))
    expect(here.cloud?.requests.length).toBe(asked)
  })
})

function headerOf(token: string): Record<string, string> {
  return { [TOKEN_HEADER]: token }
}

function collectedMemory(): { heapBytes: number; rssBytes: number } {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heapBytes: heapUsed + external, rssBytes: rss }
}

async function residentBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

async function filesBelow(directory: string): Promise<{ name: string; bytes: Buffer }[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  return Promise.all(
    files.map(async (entry) => {
      const name = join(entry.parentPath, entry.name)
      return { name, bytes: await readFile(name) }
    }),
  )
}
