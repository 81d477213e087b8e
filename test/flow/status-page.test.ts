import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { get, type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pageFiles } from '../../src/admin/page-files.ts'
import { ADMIN_CALLS, type Snapshot } from '../../src/admin-api.ts'
import { UI_HEADERS, UI_PATHS } from '../../src/ui-paths.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { ask, eventually, metabind, newToken, read, scratch } from '../harness/metabind.ts'
import { startPackaged } from '../harness/packaged.ts'
import { readAs } from '../harness/unix-http.ts'

/** The status page as the agent serves it, on its admin socket. */

const SNAPSHOT = '/metabind/v1/snapshot'
const USER_DATA = '/latest/user-data'
const isRoot = process.getuid?.() === 0

const stack = new AsyncDisposableStack()
let instance: Instance
let other: Instance
let home: string

beforeAll(async () => {
  home = stack.use(await scratch()).path
  const config = `[audit]\nfile = "${join(home, 'audit.log')}"\ncheckpoint_seconds = 10\n`
  instance = await startInstance(home, { certified: true, config })
  stack.defer(() => instance.stop())
  other = await startInstance(stack.use(await scratch()).path, { instanceId: 'i-other0000000' })
  stack.defer(() => other.stop())
})
afterAll(() => stack.disposeAsync())

async function snapshot(of: Instance = instance): Promise<Snapshot> {
  const { status, body } = await ask(of.adminSocket, 'GET', SNAPSHOT)
  expect(status).toBe(200)
  return ADMIN_CALLS.snapshot.answer.parse(JSON.parse(body))
}

async function post(call: string, body: unknown): Promise<{ status: number; body: string }> {
  const headers = { 'content-type': 'application/json' }
  const path = `/metabind/v1/${call}`
  const sent = request({ socketPath: instance.adminSocket, method: 'POST', path, headers })
  sent.end(JSON.stringify(body))
  const [answer] = await once(sent, 'response')
  return { status: answer.statusCode, body: await text(answer) }
}

/** Opens a stream, and hands out one event after the other. */
async function stream(of: Instance = instance) {
  const sent = get({ socketPath: of.adminSocket, path: UI_PATHS.events, agent: false })
  const [answer]: IncomingMessage[] = await once(sent, 'response')
  if (answer === undefined) throw new Error('no answer')
  let rest = ''
  const events = (async function* () {
    for await (const chunk of answer.setEncoding('utf8')) {
      const pieces = `${rest}${chunk}`.split('\n\n')
      rest = pieces.pop() ?? ''
      for (const piece of pieces) if (piece.startsWith('data: ')) yield JSON.parse(piece.slice(6))
    }
  })()
  const until = async (fits: (seen: Snapshot) => boolean): Promise<Snapshot> => {
    for (;;) {
      const { value, done } = await events.next()
      if (done) throw new Error('the stream ended')
      if (fits(value)) return value
    }
  }
  return { answer, until, end: () => sent.destroy() }
}

describe('the files of the page', () => {
  test.each([
    [UI_PATHS.page, 'text/html; charset=utf-8'],
    [UI_PATHS.script, 'text/javascript; charset=utf-8'],
    [UI_PATHS.style, 'text/css; charset=utf-8'],
  ])('%s has its type and every header', async (path, type) => {
    const { status, headers, body } = await ask(instance.adminSocket, 'GET', path)
    expect(status).toBe(200)
    expect(headers).toMatchObject({ ...UI_HEADERS, 'content-type': type })
    expect(body).not.toBe('')
  })

  test('are for no browser that comes by another way than metabind ui', async () => {
    for (const headers of [
      { 'Sec-Fetch-Site': 'none' },
      { Origin: 'http://evil.example' },
      // All that a page has whose own name leads to a forwarded port.
      { Host: 'evil.example:9000' },
    ]) {
      for (const path of [UI_PATHS.page, UI_PATHS.events, SNAPSHOT, '/metabind/v1/status']) {
        const { status, body } = await ask(instance.adminSocket, 'GET', path, headers)
        expect([status, body.split(':')[0]]).toEqual([403, 'REQUEST_BROWSER'])
      }
    }
  })

  test('are not on the metadata socket', async () => {
    const token = await newToken(instance)
    expect((await read(instance, token, UI_PATHS.page)).status).toBe(404)
  })
})

describe('a snapshot', () => {
  test('says what is proven, link by link', async () => {
    const { proof, status } = await snapshot()
    expect(status.ready).toBe(true)
    expect(proof.map(({ name }) => name)).toEqual([
      'anchor',
      'EK',
      'AK',
      'RK',
      'BK',
      'SK',
      'document',
    ])
    const verdicts = Object.fromEntries(proof.map(({ name, verdict }) => [name, verdict]))
    expect(verdicts).toMatchObject({ AK: 'proven', RK: 'proven', document: 'proven' })
  })

  test('says who read what, and explains it by the rule', async (context) => {
    if (!isRoot) context.skip('other users')
    await readAs({ uid: 61_007 }, instance.metadataSocket, USER_DATA)
    await readAs({ uid: 61_007 }, instance.metadataSocket, '/latest/meta-data/mac')
    const rows = (await snapshot()).readers.filter(({ uid }) => uid === 61_007)
    expect(rows).toMatchObject([
      { kind: 'metadata', allowed: 1, refused: 0, lastVerdict: 'allowed' },
      { kind: 'user-data', allowed: 0, refused: 1, lastVerdict: 'refused', lastPath: USER_DATA },
    ])
    const path = `${UI_PATHS.explain}${rows[1]?.id}`
    const explained = JSON.parse((await ask(instance.adminSocket, 'GET', path)).body)
    const told = await metabind(instance, ['explain', '61007', USER_DATA, '--json'])
    const { known: _known, schema: _schema, ...same } = JSON.parse(told.stdout)
    expect(explained).toEqual(same)
    expect(explained).toMatchObject({ allowed: false, rule: 'default' })
  })

  test('explains no row that is not there', async () => {
    for (const id of ['0', '999999', 'x', '1e0', '../status']) {
      const { status } = await ask(instance.adminSocket, 'GET', `${UI_PATHS.explain}${id}`)
      expect(status).toBe(404)
    }
  })

  test('counts tokens, what is cached, and when the source answered', async () => {
    const before = await snapshot()
    await read(instance, await newToken(instance))
    const { tokens, cache, source } = await snapshot()
    expect(tokens.issued).toBe(before.tokens.issued + 1)
    const sum = tokens.perMinute.reduce((all, { issued }) => all + issued, 0)
    expect(sum).toBeGreaterThan(0)
    expect(cache.held.map(({ path }) => path)).toContain('/latest/meta-data/instance-id')
    expect(Date.parse(source.answeredAt ?? '')).toBeLessThanOrEqual(Date.now())
    expect(source.isDown).toBe(false)
  })

  test('has the head of the audit chain and its last checkpoint', async () => {
    const seen = await eventually(
      snapshot,
      ({ auditCounts }) => auditCounts.checkpoint !== undefined,
    )
    const { checkpoint } = seen.auditCounts
    const log = await readFile(join(home, 'audit.log'), 'utf8')
    expect(log).toContain(`"hash":"${checkpoint?.hash}"`)
    expect(log).toContain(`"hash":"${seen.status.audit?.head}"`)
  })

  test('has no secret: no token, no credential, nothing of user data', async () => {
    const token = await newToken(instance)
    await read(instance, token, '/latest/meta-data/ram/security-credentials/demo-role')
    const said = JSON.stringify(await snapshot())
    expect(said).toContain('security-credentials')
    expect(said).not.toContain(token)
    expect(said).not.toMatch(/AccessKey|SecurityToken|STS\./)
  })
})

describe('an alarm', () => {
  test('is raised by a token of another instance, acknowledged once, and raised again', async () => {
    const foreign = await newToken(other)
    await read(instance, foreign)
    const { alarms } = await snapshot()
    const { identity: of } = (await snapshot(other)).status
    expect(alarms).toMatchObject([{ uid: process.getuid?.(), count: 1 }])
    expect(alarms[0]?.identity).toContain(of?.iid.slice(0, 16))
    expect(alarms[0]).not.toHaveProperty('acknowledged')
    const { status, body } = await post('acknowledge', { alarm: alarms[0]?.id })
    expect([status, JSON.parse(body)]).toEqual([200, { acknowledged: true }])
    const [seen] = (await snapshot()).alarms
    expect(seen?.acknowledged).toMatchObject({ uid: process.getuid?.() })
    const record = await instance.agent.until(({ msg }) => msg === 'alarm.acknowledged')
    expect(record).toMatchObject({ audit: true, verdict: 'done', caller: { pid: process.pid } })
    await read(instance, foreign)
    const [again] = (await snapshot()).alarms
    expect(again).toMatchObject({ count: 2 })
    expect(again).not.toHaveProperty('acknowledged')
  })

  test('is not acknowledged by a number of none, or by nonsense', async () => {
    expect(JSON.parse((await post('acknowledge', { alarm: 4711 })).body)).toEqual({
      acknowledged: false,
    })
    for (const body of [{}, { alarm: 'x' }, { alarm: 1, all: true }, [], { alarm: 0 }]) {
      expect((await post('acknowledge', body)).status).toBe(400)
    }
  })
})

describe('the stream', () => {
  test('begins with a snapshot and goes on with what changes', async () => {
    const seen = await stream()
    expect(seen.answer.headers).toMatchObject({
      ...UI_HEADERS,
      'content-type': 'text/event-stream; charset=utf-8',
    })
    const first = await seen.until(() => true)
    expect(ADMIN_CALLS.snapshot.answer.safeParse(first).success).toBe(true)
    await newToken(instance)
    await seen.until(({ tokens }) => tokens.issued === first.tokens.issued + 1)
    seen.end()
  })

  test('shows a change of the policy', async () => {
    const seen = await stream(other)
    const first = await seen.until(() => true)
    const file = join(other.directory, 'policy-of-ui.toml')
    await writeFile(file, 'mode = "audit"\n', { mode: 0o600 })
    await writeFile(join(other.directory, 'instance.toml'), await withPolicy(file))
    other.agent.child.kill('SIGHUP')
    const { status } = await seen.until(
      (one) => one.status.policy.from !== first.status.policy.from,
    )
    expect(status.policy).toMatchObject({ mode: 'audit' })
    seen.end()
  })

  test('there are eight, and the ninth is refused', async () => {
    const open = []
    for (let at = 0; at < 8; at += 1) open.push(await stream())
    const { status, body } = await ask(instance.adminSocket, 'GET', UI_PATHS.events)
    expect([status, body.split(':')[0]]).toEqual([503, 'LIMIT_CONNECTIONS'])
    for (const one of open) one.end()
  })

  test('does not keep an agent from ending', async () => {
    const seen = await stream(other)
    await seen.until(() => true)
    const ended = seen.until(() => false)
    const refused = expect(ended).rejects.toThrow('the stream ended')
    expect(await other.agent.stop()).toBe(0)
    await refused
  })
})

async function withPolicy(file: string): Promise<string> {
  const text = await readFile(join(other.directory, 'instance.toml'), 'utf8')
  return `${text.replace(/\[policy\][^[]*/, '')}\n[policy]\nfile = ${JSON.stringify(file)}\n`
}

test('the packaged agent has the page in its program', async (context) => {
  const packaged = await startPackaged(context)
  const files = await pageFiles()
  try {
    const { adminSocket } = packaged.instance
    for (const [path, part] of [
      [UI_PATHS.page, 'html'],
      [UI_PATHS.script, 'script'],
      [UI_PATHS.style, 'style'],
    ] as const) {
      const { status, body } = await ask(adminSocket, 'GET', path)
      expect([path, status, body === files[part]]).toEqual([path, 200, true])
    }
  } finally {
    await packaged.stop()
  }
})
