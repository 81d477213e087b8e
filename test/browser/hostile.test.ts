import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pageFiles } from '../../src/admin/page-files.ts'
import type { Snapshot } from '../../src/admin-api.ts'
import { UI_PATHS } from '../../src/ui-paths.ts'
import { scratch } from '../harness/metabind.ts'
import { startUi } from '../harness/ui.ts'
import { startChromium, type Tab } from './chromium.ts'

/** The status page with the worst that an agent, or what claims to be one, can say: in every text, at once. */

const TEXTS: readonly (readonly [string, string])[] = [
  [
    'markup',
    `<img src=http://evil.example/x onerror="window.broken=1"><script>window.broken=1</script>`,
  ],
  [
    'an end of what is around it',
    `"'></td></table></main><style>*{display:none}</style>{{7*7}}\${7*7}`,
  ],
  ['a turned line', `\u202egnp.ecived\u202c\u2066x\u2069\u200f\u061c`],
  ['nothing that is seen', `\0\x1b[2J\r\n\x07\u2028\u200b\ufeff\ud800`],
  ['an address', 'javascript:window.broken=1'],
  ['a name of an object', '__proto__'],
  ['length without a break', 'W'.repeat(1000)],
  ['length of combined characters', 'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤'.repeat(50)],
]
const NUMBERS: Readonly<Record<string, number>> = {
  markup: 0,
  'a turned line': Number.MAX_SAFE_INTEGER,
  'an address': -1,
}

const stack = new AsyncDisposableStack()
let tab: Tab
let says: Snapshot
let server: Server
let url: string

/** Every member that a snapshot can have, each text of it the given one. */
function snapshotOf(text: string, number: number): Snapshot {
  const who = { uid: number, user: text, unit: text, container: text, isPlaced: true }
  const many = <T>(row: (at: number) => T) => Array.from({ length: 20 }, (_, at) => row(at + 1))
  const observed = { ...who, network: 'host' as const, tokenRequests: number }
  return {
    snapshot: 1,
    at: text,
    status: {
      ...{ version: text, state: text, ready: false },
      problem: { code: text, sentence: text, remedy: text },
      identity: { dialect: text, instanceId: text, iid: text, ekName: text, akName: text },
      tpm: { tcti: text, ek: text, unreadable: [text] },
      selfTest: { anchor: text, proven: [text], lacked: [text] },
      source: { dialect: text, endpoint: text, refusedRoles: [{ path: text, code: text }] },
      policy: { mode: text, from: text, rules: number },
      sockets: { metadata: text, admin: text },
      lockdown: { state: text, since: text, until: text, redirected: number },
      audit: { file: text, seq: number, head: text },
    },
    proof: ['anchor', text, 'toString', '__proto__'].map((name) => ({
      ...{ name, verdict: text, sentence: text },
    })),
    alarms: many((id) => ({
      ...{ id, ...who, pid: number, identity: text, count: number, firstAt: text, lastAt: text },
      ...(id % 2 === 0 ? {} : { acknowledged: { at: text, uid: number } }),
    })),
    alarmsMore: number,
    readers: many((id) => ({
      ...{ id, ...who, unit: `${text}${id}`, kind: id % 2 === 0 ? 'metadata' : text },
      ...{ allowed: 1, wouldRefuse: 1, refused: 1 },
      ...{ lastPath: text, lastVerdict: text, lastAt: text },
    })),
    readersMore: number,
    tokens: { issued: number, perMinute: many(() => ({ issued: number, refused: number })) },
    cache: {
      ...{ entries: number, bytes: number, hits: number, misses: number, stale: number },
      held: many(() => ({ path: text, condition: text, fetchedAt: text })),
      heldMore: number,
    },
    source: {
      ...{ isDown: true, reads: number, failures: number, answeredAt: text },
      failure: { code: text, sentence: text, at: text },
    },
    auditCounts: {
      ...{ records: number, suppressed: number, lost: number },
      checkpoint: { seq: number, hash: text, at: text },
    },
    direct: many(() => ({
      ...{ ...observed, readsWithToken: number, readsWithoutToken: number },
      ...{ lastPath: text, lastSeen: text },
    })),
    directMore: number,
    directTokenless: number,
  }
}

beforeAll(async () => {
  const adminSocket = join(stack.use(await scratch()).path, 's')
  const files = await pageFiles()
  says = snapshotOf('', 0)
  const answers: Readonly<Record<string, () => string>> = {
    [UI_PATHS.page]: () => files.html,
    [UI_PATHS.script]: () => files.script,
    [UI_PATHS.style]: () => files.style,
  }
  // What claims to be an agent: the page is the real one, and all that it is told is a lie.
  server = createServer(({ url: path = '' }, response) => {
    if (path === UI_PATHS.events) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`data: ${JSON.stringify(says)}\n\n`)
    } else if (path.startsWith(UI_PATHS.explain)) {
      const text = says.status.state
      const passedOver = [{ rule: 1, name: text, mismatch: text }]
      response.end(
        JSON.stringify({ allowed: false, rule: 1, why: text, mode: text, path: text, passedOver }),
      )
    } else response.end(answers[path]?.() ?? '')
  })
  await new Promise<void>((resolve) => server.listen(adminSocket, resolve))
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  const ui = await startUi({ adminSocket })
  stack.defer(() => ui.stop())
  url = ui.url
  const chromium = stack.use(await startChromium())
  tab = await chromium.open()
  await tab.goto(url)
  await tab.until(`document.querySelector('.link.live')`)
})
afterAll(() => stack.disposeAsync())

/** Has the page read another snapshot, as after a restart of the agent. */
async function show(of: Snapshot): Promise<void> {
  says = of
  await tab.value('document.title = "old"')
  await tab.send('Page.reload')
  await tab.until(`document.title !== 'old' && document.querySelector('.link.live')`)
}

describe.each(TEXTS)('%s in every field', (name, text) => {
  test('is text, draws nothing and loads nothing', async () => {
    await tab.size(1180, 1000)
    await show(snapshotOf(text, NUMBERS[name] ?? 1))
    expect(await tab.value('window.broken')).toBeUndefined()
    const count = (what: string) => tab.value<number>(`document.querySelectorAll('${what}').length`)
    expect(
      await count('img, script:not([src="/ui/page.js"]), style, iframe, [href^="javascript"]'),
    ).toBe(0)
    expect(await count('[onerror], [onclick], [style]')).toBe(0)
    expect(await count('main')).toBe(1)
    expect(await count('section')).toBe(8)
    // React and its kin leave this behind if a value was taken for a part of the page.
    expect(await tab.value('document.body.innerText')).not.toContain('[object Object]')
    expect(tab.complaints).toEqual([])
    expect(tab.requests.filter((one) => !one.startsWith(new URL(url).origin))).toEqual([])
  })

  test('leaves nothing that turns or hides what is around it', async () => {
    const shown = await tab.value<string>('document.body.textContent')
    expect(shown).not.toMatch(/[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
  })

  test('is explained as text', async () => {
    await tab.value(`document.querySelector('.matrix button').click()`)
    await tab.until(`document.querySelector('.why li')`)
    expect(await tab.value('window.broken')).toBeUndefined()
    expect(await tab.value(`document.querySelectorAll('.why img, .why script').length`)).toBe(0)
  })

  test('needs no sideways scrolling at 320 pixels', async () => {
    await tab.size(320, 800)
    expect(await tab.value('document.documentElement.scrollWidth')).toBeLessThanOrEqual(320)
  })
})

test('a snapshot without anything that may be left out is drawn', async () => {
  const {
    problem: _p,
    identity: _i,
    selfTest: _s,
    lockdown: _l,
    audit: _a,
    ...status
  } = snapshotOf('x', 1).status
  const bare = { ...snapshotOf('x', 1), status, alarms: [], readers: [], direct: [], proof: [] }
  await tab.size(1180, 1000)
  await show({
    ...bare,
    cache: { ...bare.cache, held: [] },
    source: { isDown: false, reads: 0, failures: 0 },
  })
  expect(await tab.value<string>('document.body.innerText')).toContain(
    'Nobody has read anything yet.',
  )
  expect(tab.complaints).toEqual([])
})

test('one that is longer than any agent sends is not taken', async () => {
  says = snapshotOf('W'.repeat(20_000), 1)
  await tab.send('Page.reload')
  await tab.until(`document.querySelector('.link.lost')`)
  expect(await tab.value(`document.querySelector('main').innerText`)).toBe('')
  await show(snapshotOf('x', 1))
})

test('the policy of the page holds, if its script were another', async () => {
  const before = tab.requests.length
  const tried = await tab.value<string[]>(`(async () => {
    const held = []
    addEventListener('securitypolicyviolation', ({ effectiveDirective }) => held.push(effectiveDirective))
    const attempt = async (make) => { try { await make() } catch (error) { held.push(error.name) } }
    await attempt(() => fetch('http://evil.example/'))
    await attempt(() => { document.body.innerHTML = '<b>x</b>' })
    await attempt(() => eval('1'))
    for (const [name, members] of [
      ['img', { src: 'http://evil.example/x.png' }], ['script', { textContent: 'window.broken=1' }],
      ['style', { textContent: 'body{display:none}' }], ['iframe', { src: '/ui' }], ['base', { href: 'http://evil.example/' }],
    ]) await attempt(() => document.body.append(Object.assign(document.createElement(name), members)))
    await new Promise((resolve) => setTimeout(resolve, 500))
    return held
  })()`)
  for (const directive of ['connect-src', 'img-src', 'style-src-elem', 'frame-src', 'base-uri']) {
    expect(tried).toContain(directive)
  }
  expect(tried).toContain('require-trusted-types-for')
  expect(await tab.value('window.broken')).toBeUndefined()
  expect(await tab.value('getComputedStyle(document.body).display')).not.toBe('none')
  const sent = tab.requests.slice(before).filter((one) => !one.startsWith(new URL(url).origin))
  expect(sent.filter((one) => !one.includes('evil.example'))).toEqual([])
})
