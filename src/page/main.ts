import { type ComponentChild, h, render } from 'preact'
import type { Snapshot } from '../admin-api.ts'
import { UI_KEY_HEADER, UI_PATHS, UI_SERVER_HEADER } from '../ui-paths.ts'
import { alarmBanner, seenAlarms } from './alarms.ts'
import { auditPanel, cachePanel, lockdownPanel, statePanel, tokensPanel } from './panels.ts'
import { proofPanel } from './proof.ts'
import { type Explained, readersPanel } from './readers.ts'
import { readStream } from './stream.ts'
import { shown } from './words.ts'

/** The status page: draws what the agent sends, whenever it sends it. */

type Link = 'opening' | 'live' | 'lost' | 'refused'

const LINKS: Readonly<Record<Link, string>> = {
  opening: 'connecting …',
  live: 'live',
  lost: 'The agent does not answer; trying again.',
  refused: 'This page may no longer be read. Run metabind ui again, and open its link.',
}
const KEY = 'metabind-ui-key'
const SERVER = 'metabind-ui-server'
const AGAIN_MS_MAX = 15_000

let snapshot: Snapshot | undefined
/** Of performance.now(), when the snapshot came. */
let cameAtMs = 0
let link: Link = 'opening'
let explained: Explained | undefined

/** The one-time token of the link becomes a cookie and a key; the key stays with this tab, and with this port. */
async function takeKey(): Promise<void> {
  const token = location.hash.slice(1)
  if (token === '') return
  history.replaceState(null, '', UI_PATHS.page)
  const answer = await post(UI_PATHS.session, { token })
  if (!answer?.ok) return
  sessionStorage.setItem(KEY, await answer.text())
  sessionStorage.setItem(SERVER, answer.headers.get(UI_SERVER_HEADER) ?? '')
}

function keyHeader(): Record<string, string> {
  return { [UI_KEY_HEADER]: sessionStorage.getItem(KEY) ?? '' }
}

async function post(path: string, body: object): Promise<Response | undefined> {
  const headers = { ...keyHeader(), 'content-type': 'application/json' }
  return await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) }).catch(
    () => undefined,
  )
}

async function explain(id: number): Promise<void> {
  const wasOpen = explained?.id === id
  explained = wasOpen ? undefined : { id, said: undefined }
  draw()
  if (wasOpen) return
  const answer = await fetch(`${UI_PATHS.explain}${id}`, { headers: keyHeader() }).catch(
    () => undefined,
  )
  const said = answer?.ok ? await answer.json() : 'The agent says nothing of it now.'
  if (explained?.id === id) explained = { id, said }
  draw()
}

async function acknowledge(alarm: number): Promise<void> {
  await post(UI_PATHS.acknowledge, { alarm })
  // Its button goes, and the focus would go with it.
  document.getElementById('main')?.focus()
}

function page(): ComponentChild {
  const state = snapshot?.status.state ?? ''
  const isReady = snapshot?.status.ready === true
  return h(
    'div',
    null,
    h('a', { class: 'skip', href: '#main' }, 'To the content'),
    h(
      'header',
      null,
      h(
        'h1',
        null,
        'metabind',
        h('bdi', { dir: 'ltr' }, shown(snapshot?.status.identity?.instanceId ?? '')),
      ),
      h(
        'p',
        { role: 'status', class: isReady && link === 'live' ? 'pill good' : 'pill bad' },
        shown(state) || '…',
      ),
      h('p', { class: `link ${link}`, role: 'status' }, LINKS[link]),
    ),
    h('main', { id: 'main', tabIndex: -1 }, snapshot === undefined ? undefined : parts(snapshot)),
  )
}

function parts(found: Snapshot) {
  const nowMs = Date.parse(found.at) + performance.now() - cameAtMs
  return [
    alarmBanner(found, nowMs, acknowledge),
    statePanel(found),
    tokensPanel(found),
    proofPanel(found),
    readersPanel(found, nowMs, explained, explain),
    lockdownPanel(found, nowMs),
    cachePanel(found, nowMs),
    auditPanel(found, nowMs),
    seenAlarms(found, nowMs),
  ]
}

const place = document.getElementById('page')

function draw(): void {
  if (place !== null) render(page(), place)
}

function take(data: string): void {
  snapshot = JSON.parse(data)
  cameAtMs = performance.now()
  link = 'live'
  draw()
}

async function follow(): Promise<void> {
  await takeKey()
  for (let tries = 0; link !== 'refused'; tries += 1) {
    const server = sessionStorage.getItem(SERVER) ?? ''
    const end = await readStream(UI_PATHS.events, keyHeader(), server, (data) => {
      tries = 0
      take(data)
    })
    link = end
    draw()
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 2 ** tries, AGAIN_MS_MAX)))
  }
}

draw()
// Ages and countdowns; nothing is asked for.
setInterval(draw, 1000)
void follow()
