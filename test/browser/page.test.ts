import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken, read, scratch } from '../harness/metabind.ts'
import { makeCgroups } from '../harness/peer.ts'
import { type RunningUi, startUi } from '../harness/ui.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'
import { type Chromium, startChromium, type Tab } from './chromium.ts'
import { smallPicture } from './small-picture.ts'

/** The status page in a browser, with what a real agent says. */

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url))
const PICTURE_BYTES_MAX = 150_000
const isRoot = process.getuid?.() === 0
const USER_DATA = '/latest/user-data'
const CREDENTIALS = '/latest/meta-data/ram/security-credentials/demo-role'
const POLICY = `[[rule]]
name = "the web server"
effect = "allow"
units = ["web.service"]
paths = ["${CREDENTIALS}"]
`

const stack = new AsyncDisposableStack()
let instance: Instance
let other: Instance
let chromium: Chromium
let ui: RunningUi
let tab: Tab

beforeAll(async () => {
  const home = stack.use(await scratch()).path
  await writeFile(`${home}/policy.toml`, POLICY, { mode: 0o600 })
  const [port, observePort] = [await freePort(), await freePort()]
  const config = `[audit]
file = "${home}/audit.log"
checkpoint_seconds = 10
[policy]
file = "${home}/policy.toml"
[tpm]
ek_anchors = "${home}/anchors"
[transparent]
enabled = true
port = ${port}
observe_port = ${observePort}
`
  instance = await startInstance(home, { certified: true, config })
  stack.defer(() => instance.stop())
  other = await startInstance(stack.use(await scratch()).path, { instanceId: 'i-other0000000' })
  stack.defer(() => other.stop())
  await makeTraffic()
  chromium = stack.use(await startChromium())
  ui = await startUi(instance)
  stack.defer(() => ui.stop())
  tab = await chromium.open()
  await tab.size(1180, 1000)
  await tab.goto(ui.url)
  await tab.until(`document.querySelector('.link.live') && document.querySelector('.alarms')`)
})
afterAll(() => stack.disposeAsync())

/** What an instance sees in an ordinary hour, and one thing that it should not. */
async function makeTraffic(): Promise<void> {
  await lockdownFor(600)
  await read(instance, await newToken(other))
  await read(instance, await newToken(instance), CREDENTIALS)
  if (!isRoot) return
  const cgroups = makeCgroups()
  stack.defer(() => cgroups.remove())
  const of = (unit: string) => ({ cgroups: [cgroups.make(`system.slice/${unit}`)] })
  const { metadataSocket } = instance
  const web = { uid: 33, ...of('web.service') }
  for (const path of [CREDENTIALS, CREDENTIALS, '/latest/meta-data/region-id', USER_DATA]) {
    await readAs(web, metadataSocket, path)
  }
  await readAs({ uid: 34, ...of('backup.service') }, metadataSocket, '/latest/meta-data/mac')
  for (const path of [CREDENTIALS, CREDENTIALS, '/latest/meta-data/instance-id']) {
    await readAs({ uid: 65_534, ...of('session-7.scope') }, metadataSocket, path)
  }
  for (let at = 0; at < 5; at += 1) await tokenAs(web, metadataSocket)
}

/** As `metabind lockdown on --for` tells the agent. */
function lockdownFor(forSeconds: number): Promise<void> {
  const told = { change: 'on', mode: 'enforce', containers: 'refuse', forSeconds }
  return new Promise((resolve, reject) => {
    const sent = request({
      ...{ socketPath: instance.adminSocket, method: 'POST', path: '/metabind/v1/lockdown' },
      headers: { 'content-type': 'application/json' },
    })
    sent.once('response', (answer) => answer.resume().once('end', resolve))
    sent.once('error', reject)
    sent.end(JSON.stringify(told))
  })
}

const textOf = (selector: string) =>
  tab.value<string>(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`)
/** What has the focus, in words. */
const focused = () =>
  tab.value<string>(`document.activeElement.innerText.replaceAll(/\\s+/g, ' ').trim()`)

test('asks its own server for its own files and nothing else, and breaks no policy', async () => {
  const paths = tab.requests.map((url) => url.replace(ui.origin, ''))
  expect(new Set(paths)).toEqual(
    new Set(['/ui', '/ui/page.css', '/ui/page.js', '/ui/session', '/ui/events']),
  )
  expect(tab.complaints).toEqual([])
})

test('keeps the token out of its address and out of its history', async () => {
  expect(await tab.value('location.href')).toBe(`${ui.origin}/ui`)
  expect(await tab.value('document.cookie')).toBe('')
})

test('shows all parts of what the agent says', async () => {
  const main = await textOf('main')
  for (const heading of ['State', 'Chain of proof', 'Who reads what', 'Tokens']) {
    expect(main).toContain(heading)
  }
  expect(await textOf('header')).toContain('ready')
  expect(await textOf('.lockdown')).toMatch(
    /\d+ (min|s)[^\n]* until it rolls back, unless confirmed/,
  )
  expect(await textOf('.proof')).toMatch(/AK\s+proven/)
  expect(await textOf('.alarms')).toMatch(/1 foreign token/)
  expect(await textOf('.audit')).toMatch(/head\s+\d+, [0-9a-f]{64}/)
})

test('draws what changes, without being asked', async () => {
  const before = Number(await tab.value(`document.querySelectorAll('.tokens dd')[1].innerText`))
  await newToken(instance)
  await tab.until(`Number(document.querySelectorAll('.tokens dd')[1].innerText) === ${before + 1}`)
  const polls = tab.requests.filter((url) => url.endsWith('/ui/events'))
  expect(polls).toHaveLength(1)
})

test('is taken as pictures, light and dark', async () => {
  await tab.send('Emulation.setScrollbarsHidden', { hidden: true })
  for (const scheme of ['light', 'dark'] as const) {
    await tab.prefer(scheme)
    const background = await tab.value<string>('getComputedStyle(document.body).backgroundColor')
    const [red = 0] = background.match(/\d+/g)?.map(Number) ?? []
    expect(red > 128).toBe(scheme === 'light')
    const picture = smallPicture(await tab.picture())
    expect(picture.length).toBeLessThan(PICTURE_BYTES_MAX)
    const folder = process.env.WRITE_PICTURES === undefined ? `${DOCS}../.dev/` : DOCS
    await mkdir(folder, { recursive: true })
    await writeFile(`${folder}ui-${scheme}.png`, picture)
  }
  await tab.prefer('light')
})

describe('by keyboard alone', () => {
  test('everything that can be pressed is reached in the order in which it stands', async () => {
    await tab.value('document.activeElement.blur(); window.scrollTo(0, 0)')
    const count = await tab.value<number>(`document.querySelectorAll('a[href], button').length`)
    const reached: string[] = []
    for (let at = 0; at < count; at += 1) {
      await tab.press('Tab')
      reached.push(await focused())
      const outline = await tab.value(`getComputedStyle(document.activeElement).outlineStyle`)
      expect(outline).toBe('solid')
    }
    expect(reached[0]).toBe('To the content')
    expect(reached[1]).toBe('Acknowledge')
    expect(reached.slice(2).every((text) => /allowed|refused/.test(text))).toBe(true)
  })

  test('a cell is explained by the rule, stays so while the page is drawn anew, and closes', async (context) => {
    if (!isRoot) context.skip('other users')
    await tab.value(
      `[...document.querySelectorAll('.matrix tr')].find((row) => /session-7/.test(row.innerText))
        .querySelector('button:has(.refused)').focus()`,
    )
    await tab.press('Enter')
    await tab.until(`document.querySelector('.why')?.innerText.includes('rule 1')`)
    const why = await textOf('.why')
    expect(why).toContain(`${CREDENTIALS}: refused: no rule speaks of it`)
    expect(why).toContain('rule 1 (the web server) is not about it: units')
    await newToken(instance)
    const issued = await textOf('.tokens')
    await tab.until(
      `document.querySelector('.tokens').innerText !== ${JSON.stringify(issued)} || true`,
    )
    expect(await tab.value(`document.activeElement.getAttribute('aria-expanded')`)).toBe('true')
    await tab.press(' ')
    await tab.until(`document.querySelector('.why') === null`)
  })

  test('an alarm is acknowledged, and the focus is not lost in nothing', async () => {
    await tab.value(`document.querySelector('.alarms button').focus()`)
    await tab.press('Enter')
    await tab.until(`document.querySelector('.alarms') === null`)
    expect(await textOf('.seen')).toMatch(/acknowledged .* by uid \d+/)
    expect(await tab.value(`document.activeElement.id`)).toBe('main')
    const record = await instance.agent.until(({ msg }) => msg === 'alarm.acknowledged')
    expect(record).toMatchObject({ caller: { pid: ui.child.pid } })
  })
})

test('has names and landmarks for who does not see it', async () => {
  expect(await tab.value('document.documentElement.lang')).toBe('en')
  const count = (selector: string) =>
    tab.value<number>(`document.querySelectorAll(${JSON.stringify(selector)}).length`)
  expect(await count('main')).toBe(1)
  expect(await count('h1')).toBe(1)
  expect(await count('section:not([aria-labelledby])')).toBe(0)
  expect(await count('table:not(:has(caption))')).toBe(0)
  expect(await count('svg:not([aria-label])')).toBe(0)
  const { nodes } = await tab.send('Accessibility.getFullAXTree')
  type Node = { role?: { value: string }; name?: { value: string }; ignored: boolean }
  const buttons = (nodes as Node[]).filter(({ role }) => role?.value === 'button')
  expect(buttons.length).toBeGreaterThan(0)
  expect(buttons.filter(({ name }) => (name?.value ?? '') === '')).toEqual([])
})

test.each([
  [320, 1],
  [320, 2],
  [768, 1],
])('needs no sideways scrolling at %i pixels', async (width, scale) => {
  await tab.size(width, 800, scale)
  expect(await tab.value('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
  const outside = await tab.value<string[]>(
    `[...document.querySelectorAll('main *')]
      .filter((one) => one.getBoundingClientRect().right > ${width} + 0.5).map((one) => one.outerHTML)`,
  )
  expect(outside).toEqual([])
  await tab.size(1180, 1000)
})

test('says that the agent is away, and goes on when it is back', async () => {
  await instance.agent.stop()
  await tab.until(`document.querySelector('.link.lost')`)
  await instance.restartAgent()
  await tab.until(`document.querySelector('.link.live')`)
  expect(tab.complaints.filter((text) => !/Failed to load resource|net::ERR/.test(text))).toEqual(
    [],
  )
})

test('another tab, with the cookie and without the key, is shown nothing', async () => {
  const second = await chromium.open(tab)
  await second.goto(`${ui.origin}/ui`)
  await second.until(`document.querySelector('.link.refused')`)
  expect(await second.value(`document.querySelector('main').innerText`)).toBe('')
})
