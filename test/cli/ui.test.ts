import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { UI_HEADERS, UI_KEY_HEADER, UI_PATHS, UI_SERVER_HEADER } from '../../src/ui-paths.ts'
import { canBecomeNobody, NOBODY } from '../harness/as-uid.ts'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { ask, eventually, metabind, newToken, read, runNode, scratch } from '../harness/metabind.ts'
import { endPeer, startPeer } from '../harness/peer.ts'
import { askUi, openLink, openUi, type RunningUi, startUi, type UiRequest } from '../harness/ui.ts'

/** `metabind ui`: the status page on loopback, for one browser and nobody else. */

const stack = new AsyncDisposableStack()
let instance: Instance
let other: Instance
let ui: RunningUi

beforeAll(async () => {
  instance = await startInstance(stack.use(await scratch()).path)
  stack.defer(() => instance.stop())
  other = await startInstance(stack.use(await scratch()).path, { instanceId: 'i-other0000000' })
  stack.defer(() => other.stop())
})
afterAll(() => stack.disposeAsync())
beforeEach(async () => {
  ui = await startUi(instance)
})
afterEach(() => ui.stop())

const codeOf = ({ status, body }: { status: number; body: string }) =>
  `${status} ${body.split(':')[0]}`
const FILES = [UI_PATHS.page, UI_PATHS.script, UI_PATHS.style]
const DATA: readonly (readonly [string, UiRequest])[] = [
  [UI_PATHS.events, {}],
  [`${UI_PATHS.explain}1`, {}],
  [UI_PATHS.acknowledge, { method: 'POST', body: { alarm: 1 } }],
]
const ALL: readonly (readonly [string, UiRequest])[] = [
  ...FILES.map((path) => [path, {}] as const),
  [UI_PATHS.session, { method: 'POST', body: { token: 'x' } }],
  ...DATA,
]

async function firstEvent(headers: Record<string, string>): Promise<unknown> {
  const answer = await openUi(ui, UI_PATHS.events, { headers })
  expect(answer.headers).toMatchObject(UI_HEADERS)
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) {
    text += chunk
    if (text.includes('\n\n')) break
  }
  answer.destroy()
  return JSON.parse(text.slice('data: '.length, text.indexOf('\n\n')))
}

/** Resolves when a stream has ended, however. */
function gone(stream: IncomingMessage): Promise<void> {
  stream.on('error', () => undefined).resume()
  return new Promise((resolve) => stream.once('close', resolve))
}

describe('the way in', () => {
  test('is a link that becomes a cookie and a key, and then the page is live', async () => {
    const { status, headers } = await askUi(ui, UI_PATHS.session, {
      method: 'POST',
      body: { token: ui.token },
    })
    expect(status).toBe(200)
    expect(headers['set-cookie']).toEqual([
      expect.stringMatching(
        new RegExp(
          `^metabind-ui-${ui.port}=[\\w-]{43}; HttpOnly; SameSite=Strict; Path=/ui; Max-Age=3600$`,
        ),
      ),
    ])
  })

  test('shows itself by a secret that the page alone was told', async () => {
    const opened = await askUi(ui, UI_PATHS.session, { method: 'POST', body: { token: ui.token } })
    const secret = opened.headers[UI_SERVER_HEADER]
    expect(secret).toMatch(/^[\w-]{43}$/)
    const [cookie = ''] = (opened.headers['set-cookie']?.[0] ?? '').split(';')
    const keys = { cookie, [UI_KEY_HEADER]: opened.body }
    const stream = await openUi(ui, UI_PATHS.events, { headers: keys })
    expect(stream.headers[UI_SERVER_HEADER]).toBe(secret)
    stream.destroy()
    for (const path of [UI_PATHS.page, UI_PATHS.script, UI_PATHS.events]) {
      expect((await askUi(ui, path)).headers[UI_SERVER_HEADER]).toBeUndefined()
    }
  })

  test('shows what the agent says', async () => {
    const event = await firstEvent(await openLink(ui))
    expect(event).toMatchObject({ snapshot: 1, status: { ready: true } })
  })

  test('listens on 127.0.0.1 alone', async () => {
    const table = await readFile(`/proc/${ui.child.pid}/net/tcp`, 'utf8')
    const port = ui.port.toString(16).toUpperCase().padStart(4, '0')
    const listening = table
      .split('\n')
      .filter((line) => / 0A /.test(line) && line.includes(`:${port} `))
    expect(listening.map((line) => line.trim().split(/\s+/)[1])).toEqual([`0100007F:${port}`])
  })

  test('keeps the token out of the process table', async () => {
    const { pid } = ui.child
    const seen = await Promise.all(
      ['cmdline', 'environ'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')),
    )
    expect(seen.join()).not.toContain(ui.token)
  })

  test('is said in words as well, on the port that was asked for', async () => {
    const port = await freePort()
    const { code, stdout, stderr } = await metabind(instance, [
      ...['ui', '--port', String(port), '--for', '1s'],
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      new RegExp(`^http://127\\.0\\.0\\.1:${port}/ui#[\\w-]{43}\nThe link works once, until `),
    )
  })
})

describe('other users on loopback', () => {
  test('have the page without what it shows', async (context) => {
    if (!canBecomeNobody) context.skip('another user')
    await openLink(ui)
    const script = `
      const ask = async (path, init) => (await fetch('${ui.origin}' + path, init)).status
      const json = { 'content-type': 'application/json', origin: '${ui.origin}' }
      const post = (path, body) => ask(path, { method: 'POST', headers: json, body: JSON.stringify(body) })
      Promise.all([
        ask('/ui'), ask('/ui/events'), ask('/ui/explain/1'),
        post('/ui/acknowledge', { alarm: 1 }), post('/ui/session', { token: '${'A'.repeat(43)}' }),
        ask('/metabind/v1/status'), ask('/ui/events', { headers: { cookie: 'metabind-ui-${ui.port}=x', '${UI_KEY_HEADER}': 'x' } }),
      ]).then((all) => console.log(all.join(' ')))`
    const { stdout } = await runNode(['-e', script], { uid: NOBODY, cwd: '/' })
    expect(stdout).toBe('200 403 403 403 403 403 403\n')
  })

  test.each(DATA)('%s needs the cookie and the key', async (path, asked) => {
    const both = await openLink(ui)
    const { cookie = '', [UI_KEY_HEADER]: key = '' } = both
    for (const headers of [
      {},
      { cookie },
      { [UI_KEY_HEADER]: key },
      { cookie: `metabind-ui-1=${cookie.split('=')[1]}`, [UI_KEY_HEADER]: key },
      { cookie, [UI_KEY_HEADER]: cookie.split('=')[1] ?? '' },
    ]) {
      expect(codeOf(await askUi(ui, path, { ...asked, headers }))).toBe('403 UI_KEY')
    }
    const answer = await openUi(ui, path, { ...asked, headers: both })
    expect([200, 404]).toContain(answer.statusCode)
    answer.destroy()
  })

  test('cannot take all of its connections', async (context) => {
    if (!canBecomeNobody) context.skip('another user')
    const headers = await openLink(ui)
    const hold = `import socket,sys
held = [socket.create_connection(('127.0.0.1', ${ui.port})) for _ in range(64)]
print('held', flush=True)
sys.stdin.read()`
    const holder = startPeer(hold, [], { uid: NOBODY })
    try {
      await once(holder.stdout ?? holder, 'data')
      // Before those are closed for their silence.
      expect(await firstEvent(headers)).toMatchObject({ snapshot: 1 })
    } finally {
      await endPeer(holder)
    }
  })

  test('can take its connections, but not for long', async () => {
    const headers = await openLink(ui)
    const held: Socket[] = []
    for (let at = 0; at < 64; at += 1) {
      const socket = connect(ui.port, '127.0.0.1')
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      held.push(socket)
    }
    const seen = await eventually(
      () => firstEvent(headers).catch(() => undefined),
      (event) => event !== undefined,
    )
    expect(seen).toMatchObject({ snapshot: 1 })
    for (const socket of held) socket.destroy()
  })
})

describe('a link', () => {
  test('that is opened by a second one ends everything: one of the two had stolen it', async () => {
    const headers = await openLink(ui)
    const stream = await openUi(ui, UI_PATHS.events, { headers })
    const closed = gone(stream)
    const again = { method: 'POST', body: { token: ui.token } }
    expect(codeOf(await askUi(ui, UI_PATHS.session, again))).toBe('403 UI_LINK')
    const { code, stderr } = await ui.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^metabind: UI_LINK: .*It was opened twice, by two\./)
    await closed
  })

  test('that the same browser opens again is refused, and the page goes on', async () => {
    const headers = await openLink(ui)
    const again = { method: 'POST', headers, body: { token: ui.token } }
    expect(codeOf(await askUi(ui, UI_PATHS.session, again))).toBe('403 UI_LINK')
    expect(await firstEvent(headers)).toMatchObject({ snapshot: 1 })
  })

  test('that nobody opens ends the command, which says so', async () => {
    const late = await startUi(instance, ['--expires', '1s'])
    const { code, stderr } = await late.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^metabind: UI_LINK: .*Nobody opened it in time\./)
  })

  test('is guessed by nobody, and a wrong one takes nothing away', async () => {
    for (const token of ['', 'A'.repeat(43), ui.token.slice(1), `${ui.token}=`]) {
      const asked = { method: 'POST', body: { token } }
      expect(codeOf(await askUi(ui, UI_PATHS.session, asked))).toBe('403 UI_LINK')
    }
    for (const body of [
      {},
      [],
      { token: 1 },
      { token: 'x'.repeat(65) },
      { token: ui.token, a: 1 },
    ]) {
      const asked = { method: 'POST', body }
      expect(codeOf(await askUi(ui, UI_PATHS.session, asked))).toBe('400 ADMIN_REQUEST')
    }
    await openLink(ui)
  })
})

describe('another name for this machine (DNS rebinding)', () => {
  test.each(ALL)('%s is for 127.0.0.1 with this port alone', async (path, asked) => {
    const headers = await openLink(ui)
    const { port } = ui
    for (const host of [
      ...[
        'evil.example',
        `evil.example:${port}`,
        `localhost:${port}`,
        '127.0.0.1',
        `0.0.0.0:${port}`,
      ],
      ...[`127.0.0.1:${port + 1}`, `127.0.0.1.evil.example:${port}`, `[::1]:${port}`],
    ]) {
      const origin = `http://${host}`
      const sent = { ...headers, host, ...(asked.method === 'POST' ? { origin } : {}) }
      expect(codeOf(await askUi(ui, path, { ...asked, headers: sent }))).toBe('403 UI_ORIGIN')
    }
  })
})

describe('another site', () => {
  test.each(ALL)('cannot ask for %s, whatever the browser sends along', async (path, asked) => {
    const headers = await openLink(ui)
    for (const sent of [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { origin: `http://127.0.0.1:${ui.port + 1}` },
      { origin: `https://127.0.0.1:${ui.port}` },
      { 'sec-fetch-site': 'cross-site' },
      // A server of another user, on another port of this address, is of the same site.
      { 'sec-fetch-site': 'same-site' },
    ]) {
      const answer = await askUi(ui, path, { ...asked, headers: { ...headers, ...sent } })
      expect(codeOf(answer)).toBe('403 UI_ORIGIN')
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
    }
  })

  test('typed addresses lead to the page alone', async () => {
    const headers = { ...(await openLink(ui)), 'sec-fetch-site': 'none' }
    expect((await askUi(ui, UI_PATHS.page, { headers })).status).toBe(200)
    for (const path of [UI_PATHS.events, UI_PATHS.script, `${UI_PATHS.explain}1`]) {
      expect(codeOf(await askUi(ui, path, { headers }))).toBe('403 UI_ORIGIN')
    }
  })

  test('cannot send a form: it has no origin of its own, or another type', async () => {
    const headers = await openLink(ui)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; x']) {
      const asked = { method: 'POST', headers: { ...headers, 'content-type': type }, body: {} }
      expect(codeOf(await askUi(ui, UI_PATHS.acknowledge, asked))).toBe('400 ADMIN_REQUEST')
    }
  })
})

describe('the page', () => {
  test('is read only: no other call, no other method', async () => {
    const headers = await openLink(ui)
    const calls = ['status', 'revoke', 'evidence', 'lockdown', 'metrics', 'explain'].map(
      (name) => `/metabind/v1/${name}`,
    )
    for (const path of [
      ...calls,
      '/',
      '/ui/',
      '/ui/page.js/',
      '/ui/../metabind/v1/status',
      '/ui?x',
    ]) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS']) {
        const { status } = await askUi(ui, path, { method, headers })
        expect([path, method, status]).toEqual([path, method, 404])
      }
    }
    for (const id of ['0', 'x', '1/../2', '1?x', '9999999999', '']) {
      expect((await askUi(ui, `${UI_PATHS.explain}${id}`, { headers })).status).toBe(404)
    }
  })

  test('acknowledges an alarm, and who did is on record', async () => {
    const headers = await openLink(ui)
    await read(instance, await newToken(other))
    const { alarms } = JSON.parse(
      (await ask(instance.adminSocket, 'GET', '/metabind/v1/snapshot')).body,
    )
    const asked = { method: 'POST', headers, body: { alarm: alarms[0].id } }
    const { status, body } = await askUi(ui, UI_PATHS.acknowledge, asked)
    expect([status, JSON.parse(body)]).toEqual([200, { acknowledged: true }])
    const record = await instance.agent.until(({ msg }) => msg === 'alarm.acknowledged')
    expect(record).toMatchObject({ caller: { uid: process.getuid?.(), pid: ui.child.pid } })
  })

  test('has every header on every answer, refusals too', async () => {
    for (const [path, asked] of ALL) {
      expect((await askUi(ui, path, asked)).headers).toMatchObject(UI_HEADERS)
    }
  })

  test('has four streams; bodies and headers are bounded', async () => {
    const headers = await openLink(ui)
    const open = []
    for (let at = 0; at < 4; at += 1) open.push(await openUi(ui, UI_PATHS.events, { headers }))
    expect(codeOf(await askUi(ui, UI_PATHS.events, { headers }))).toBe('503 LIMIT_CONNECTIONS')
    for (const one of open) one.destroy()
    const long = { method: 'POST', body: { token: 'x'.repeat(5000) } }
    expect(codeOf(await askUi(ui, UI_PATHS.session, long))).toBe('400 ADMIN_REQUEST')
    const large = { headers: { ...headers, 'x-large': 'x'.repeat(20_000) } }
    expect((await askUi(ui, UI_PATHS.page, large)).status).toBe(431)
  })

  test('finds the agent again after a restart', async () => {
    const headers = await openLink(ui)
    const stream = await openUi(ui, UI_PATHS.events, { headers })
    const closed = gone(stream)
    await instance.restartAgent()
    await closed
    expect(await firstEvent(headers)).toMatchObject({ status: { ready: true } })
  })
})

describe('the command', () => {
  test.each([['SIGINT'], ['SIGTERM']] as const)('ends with %s, streams or not', async (signal) => {
    const headers = await openLink(ui)
    const stream = await openUi(ui, UI_PATHS.events, { headers })
    const closed = gone(stream)
    ui.child.kill(signal)
    expect(await ui.ended).toEqual({ code: 0, stderr: '' })
    await closed
    await expect(askUi(ui, UI_PATHS.page)).rejects.toThrow('ECONNREFUSED')
  })

  test('ends when its time is over, used or not', async () => {
    const short = await startUi(instance, ['--for', '1s'])
    await openLink(short)
    expect(await short.ended).toEqual({ code: 0, stderr: '' })
  })

  test.each([
    [['--port', '65536'], '--port takes a number from 0 to 65535'],
    [['--port', '-1'], '--port'],
    [['--port', '0x50'], '--port takes'],
    [['--expires', '0'], '--expires takes a duration from 1s to 1h'],
    [['--expires', '2h'], '--expires takes a duration'],
    [['--for', '13h'], '--for takes a duration from 1s to 12h'],
    [['--for', '10y'], '--for takes a duration'],
    [['x'], "unexpected argument 'x'"],
  ])('%j is wrong usage, said without an agent', async (args, says) => {
    const nowhere = { metadataSocket: '/nonexistent', adminSocket: '/nonexistent' }
    const { code, stderr } = await metabind(nowhere, ['ui', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain(says)
  })

  test('says that no agent is there, or that the port is taken', async () => {
    const nowhere = { metadataSocket: '/nonexistent', adminSocket: '/nonexistent' }
    expect(await metabind(nowhere, ['ui'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^metabind: SOCKET_ABSENT: /),
    })
    expect(await metabind(instance, ['ui', '--port', String(ui.port)])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^metabind: UI_PORT: /),
    })
  })
})
