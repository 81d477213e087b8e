import { type ExecFileException, execFile } from 'node:child_process'
import { closeSync, openSync, renameSync, statSync } from 'node:fs'
import { appendFile, copyFile, readFile, rename, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeBody, encodeLine } from '../../src/audit/chain.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { askAs } from '../harness/unix-http.ts'
import { get, openSession, send } from '../simulate/request.ts'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let instance: Instance
let base: string
let file: string

beforeEach(async () => {
  scratch = await scratchDirectory()
  file = join(scratch.path, 'audit.log')
  instance = await startInstance(scratch.path, {
    config: `[audit]\nfile = ${JSON.stringify(file)}\ncheckpoint_seconds = 3600\n`,
  })
  base = `unix:${instance.metadataSocket}`
})

afterEach(async () => {
  await instance?.stop()
  await scratch?.[Symbol.asyncDispose]()
})

interface Ran {
  readonly code: number
  readonly output: string
}

function verify(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const ended = (error: ExecFileException | null, stdout: string, stderr: string) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr })
    execFile(process.execPath, [CLI, 'audit', 'verify', ...args], { timeout: 240_000 }, ended)
  })
}

type ChainRecord = Readonly<Record<string, unknown>>
const recordsOf = async (path: string): Promise<ChainRecord[]> =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

/** Waits until the file holds a record that fits. */
async function recorded(
  path: string,
  fits: (record: ChainRecord) => boolean,
): Promise<ChainRecord> {
  for (let tries = 0; tries < 1200; tries += 1) {
    const found = (await recordsOf(path).catch(() => [])).find(fits)
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`no such record in ${path}:\n${await readFile(path, 'utf8')}`)
}

const event = (name: string) => (record: ChainRecord) => record.event === name
const me = { uid: process.getuid?.(), gid: process.getgid?.(), pid: process.pid }

describe('the records', () => {
  test('of a token, a secret and a refusal say who, what, verdict and request id', async () => {
    const token = await openSession(base)
    await get(base, '/latest/meta-data/ram/security-credentials/demo-role', token)
    const refused = await get(base, '/latest/meta-data/?planted=1', 'x'.repeat(86))
    await send(base, 'GET', '/', ['X-Forwarded-For', ''])
    expect(await recorded(file, event('token.issued'))).toMatchObject({
      caller: me,
      verdict: 'allowed',
      ttlSeconds: 60,
      id: expect.stringMatching(/^[0-9a-f]{8}-/),
    })
    expect(await recorded(file, event('secret.read'))).toMatchObject({
      caller: me,
      verdict: 'allowed',
      path: '/latest/meta-data/ram/security-credentials/demo-role',
    })
    expect(refused.status).toBe(400)
    expect(await recorded(file, event('request.refused'))).toMatchObject({
      caller: me,
      verdict: 'refused',
      code: 'REQUEST_FORWARDED',
    })
  })

  test('of a refused token carry the id that its caller was told', async () => {
    const answer = await get(base, '/latest/meta-data/', 'x'.repeat(86))
    const record = await recorded(file, event('token.refused'))
    expect(answer.status).toBe(401)
    expect(record.id).toBe(answer.headers['x-metabind-request-id'])
  })

  test('of a caller in thousands of groups are as short as others; so is what whoami says', async (context) => {
    requireRoot(context, 'a process of another user is put into groups')
    const groups = Array.from({ length: 8000 }, (_, at) => 100_000 + at)
    const [put, whoami, forwarded] = await askAs(
      { uid: 1001, gid: 1001, groups },
      instance.metadataSocket,
      [
        ['PUT', '/latest/api/token', { 'x-aliyun-ecs-metadata-token-ttl-seconds': '60' }],
        ['GET', '/metabind/v1/whoami', {}],
        ['GET', '/', { 'X-Forwarded-For': '' }],
      ],
    )
    expect([put?.status, forwarded?.status]).toEqual([200, 403])
    const { caller } = await recorded(file, event('token.issued'))
    const { caller: refused } = await recorded(file, event('request.refused'))
    for (const shown of [caller, refused, JSON.parse(whoami?.body ?? '')]) {
      expect(shown).toMatchObject({ uid: 1001, groups: groups.slice(0, 16), groupCount: 8000 })
    }
    for (const line of (await readFile(file, 'utf8')).split('\n')) {
      expect(line.length).toBeLessThan(1000)
    }
  })

  test('of the agent itself: start, reload, refused reload', async () => {
    instance.agent.child.kill('SIGHUP')
    await recorded(file, event('config.reloaded'))
    await writeFile(join(scratch.path, 'more.toml'), 'planted = 1\n')
    instance.agent.child.kill('SIGHUP')
    const record = await recorded(file, event('config.refused'))
    expect(record).toMatchObject({
      verdict: 'refused',
      detail: expect.stringMatching(/more\.toml:1/),
    })
    expect((await recordsOf(file)).slice(0, 2).map(({ event }) => event)).toEqual([
      'chain.start',
      'agent.started',
    ])
  })

  test('are in the log too, with the same numbers', async () => {
    await openSession(base)
    const inFile = await recorded(file, event('token.issued'))
    const inLog = await instance.agent.until((record) => record.event === 'token.issued')
    expect(inLog).toMatchObject({ audit: true, seq: inFile.seq, id: inFile.id, level: 'notice' })
  })

  test('of a flood of tokens are bounded, and add up to their number before the agent ends', async () => {
    for (let round = 0; round < 30; round += 1) {
      await Promise.all(Array.from({ length: 10 }, () => openSession(base)))
    }
    await instance.agent.stop()
    const records = await recordsOf(file)
    const issued = records.filter(event('token.issued'))
    expect(issued.length).toBeLessThan(300)
    expect(issued.reduce((sum, { count }) => sum + Number(count ?? 1), 0)).toBe(300)
    const last = records.slice(-2).map((record) => record.event)
    expect(last).toEqual(['agent.ended', 'chain.checkpoint'])
  })

  test('of a flood of refusals are bounded, and the rest is counted', async () => {
    for (let round = 0; round < 30; round += 1) {
      await Promise.all(Array.from({ length: 10 }, () => get(base, '/', 'no token')))
    }
    const suppressed = await instance.agent.until(
      (record) => record.event === 'audit.suppressed',
      15_000,
    )
    const refusals = (await recordsOf(file)).filter(event('token.refused')).length
    expect(refusals).toBeGreaterThanOrEqual(200)
    expect(refusals + Number(suppressed.suppressed)).toBe(300)
  })
})

describe('the file', () => {
  test('belongs to the agent alone, and ends signed when the agent ends', async () => {
    await openSession(base)
    await instance.agent.stop()
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const last = (await recordsOf(file)).at(-1)
    expect(last?.event).toBe('chain.checkpoint')
    const ran = await verify(file)
    expect(ran).toMatchObject({ code: 0, output: expect.stringMatching(/^whole: /) })
    const head = /head ([0-9a-f]{64})/.exec(ran.output)?.[1] ?? ''
    expect((await verify(file, '--head', head)).code).toBe(0)
  })

  test('is continued by the next agent, also after a kill that cut the last line', async () => {
    await openSession(base)
    await recorded(file, event('token.issued'))
    await instance.agent.stop('SIGKILL')
    const bytes = statSync(file).size
    await truncate(file, bytes - 20)
    await instance.restartAgent()
    await instance.agent.stop()
    const records = await recordsOf(file)
    expect(records.filter(event('agent.started'))).toHaveLength(2)
    expect(records.find(event('chain.torn'))?.cutBytes).toBeGreaterThan(20)
    expect((await verify(file)).code).toBe(0)
  })

  test('goes on in a new one when it was renamed, or on SIGUSR1 after that', async () => {
    await openSession(base)
    await recorded(file, event('token.issued'))
    await rename(file, `${file}.1`)
    await openSession(base)
    await recorded(file, event('chain.start'))
    // At once: the agent looks now and then, and would make the next file itself.
    renameSync(file, `${file}.2`)
    closeSync(openSync(file, 'wx', 0o600))
    instance.agent.child.kill('SIGUSR1')
    await recorded(file, event('chain.start'))
    await instance.agent.stop()
    expect(await verify(`${file}.1`, `${file}.2`, file)).toMatchObject({ code: 0 })
    const swapped = await verify(`${file}.2`, `${file}.1`, file)
    expect(swapped).toMatchObject({ code: 1, output: expect.stringContaining('audit.log.1:1: ') })
  })

  test('goes on where the last agent ended, killed after a rename and before its next record', async () => {
    await openSession(base)
    await recorded(file, event('token.issued'))
    await rename(file, `${file}.1`)
    await instance.restartAgent('SIGKILL')
    await instance.agent.stop()
    const [first] = await recordsOf(file)
    const last = (await recordsOf(`${file}.1`)).at(-1)
    expect(first).toMatchObject({ event: 'chain.start', prev: last?.hash })
    expect(await verify(`${file}.1`, file)).toMatchObject({ code: 0 })
  })

  test('with the key of its checkpoints is whole, unsigned at its end, or nobody’s', async () => {
    await openSession(base)
    await recorded(file, event('token.issued'))
    const copy = join(scratch.path, 'copy.log')
    await copyFile(file, copy)
    await instance.agent.stop()
    const signed = await recorded(file, event('chain.checkpoint'))
    const pem = join(scratch.path, 'sk.pem')
    const spki = (signed.checkpoint as { key: string }).key
    await writeFile(pem, `-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n`)
    expect(await verify(file, '--key', pem)).toMatchObject({ code: 0 })
    // What it held before it was signed, which anybody could have written.
    expect(await verify(copy)).toMatchObject({ code: 0 })
    expect(await verify(copy, '--key', pem)).toMatchObject({
      code: 1,
      output: expect.stringContaining('no checkpoint signs a record of these files'),
    })
    const head = { seq: Number(signed.seq), hash: String(signed.hash) }
    const { text } = encodeLine(head.hash, head.seq + 1, encodeBody({ event: 'token.issued' }))
    await appendFile(file, `${text}\n`)
    expect(await verify(file, '--key', pem)).toMatchObject({
      code: 3,
      output: expect.stringContaining(`records after ${head.seq} are not signed`),
    })
    expect((await verify(file, '--key', pem, '--json')).code).toBe(3)
  })

  test('that is asked to rotate without having been moved stays whole', async () => {
    instance.agent.child.kill('SIGUSR1')
    await recorded(file, event('chain.reopened'))
    await instance.agent.stop()
    expect((await verify(file)).code).toBe(0)
  })

  test('that was altered, reordered or cut is found broken, with its line', async () => {
    await openSession(base)
    await openSession(base)
    await recorded(file, (record) => record.event === 'token.issued' && record.seq === 5)
    const running = ['--running', '--admin-socket', instance.adminSocket]
    expect((await verify(file, ...running)).code).toBe(0)
    const copy = join(scratch.path, 'copy.log')
    const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1)
    const broken = async (altered: readonly string[], ...more: readonly string[]) => {
      await writeFile(copy, `${altered.join('\n')}\n`)
      return verify(copy, ...more)
    }
    const flipped = lines.with(3, lines[3]?.replace('"uid":', '"uiD":') ?? '')
    expect(await broken(flipped)).toMatchObject({
      code: 1,
      output: `broken: ${copy}:4: not a whole record, or altered: its hash differs\n`,
    })
    const reordered = lines.with(2, lines[3] ?? '').with(3, lines[2] ?? '')
    expect(await broken(reordered)).toMatchObject({ code: 1 })
    expect(await broken(lines.slice(0, -1))).toMatchObject({ code: 0 })
    expect(await broken(lines.slice(0, -1), ...running)).toMatchObject({ code: 1 })
    await appendFile(file, 'x')
    expect(await verify(file)).toMatchObject({ code: 1 })
  })
})

describe('metabind audit', () => {
  test.each([
    [['--head', 'xyz'], /--head must be/],
    [['--head', '0'.repeat(64), '--running'], /exclude each other/],
    [['--planted'], /planted/],
  ])('verify with %j is wrong usage', async (args, message) => {
    const ran = await verify(file, ...args)
    expect(ran).toMatchObject({ code: 2, output: expect.stringMatching(message) })
  })

  test('without a file is wrong usage', async () => {
    expect(await verify()).toMatchObject({ code: 2 })
  })
})
