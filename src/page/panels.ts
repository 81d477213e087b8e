import { type ComponentChild, type ComponentChildren, h } from 'preact'
import type { Snapshot } from '../admin-api.ts'
import { facts, more, panel, table, text } from './panel.ts'
import { ago, bytes, number, several, shown, span, whoIs } from './words.ts'

/** The smaller parts of the page. @param nowMs of the agent's clock */

export function statePanel({ status }: Snapshot): ComponentChild {
  const { problem, identity, tpm, policy, source } = status
  const waits = problem && [
    h(
      'p',
      { class: 'problem' },
      h('strong', null, shown(problem.code)),
      ` ${shown(problem.sentence)}`,
    ),
    h('p', null, shown(problem.remedy)),
  ]
  return panel(
    'state',
    'State',
    waits,
    facts([
      ['instance', identity && shown(identity.instanceId)],
      ['identity', identity && shown(identity.iid)],
      ['TPM', shown(tpm.ek === undefined ? tpm.tcti : `${tpm.tcti}, EK ${tpm.ek}`)],
      ['source', `${shown(source.dialect)} at ${shown(source.endpoint)}`],
      ['policy', `${shown(policy.mode)}, ${several(policy.rules, 'rule')}, ${shown(policy.from)}`],
      ['version', shown(status.version)],
    ]),
  )
}

export function tokensPanel({ tokens }: Snapshot): ComponentChild {
  const minutes = tokens.perMinute
  const refused = minutes.reduce((sum, one) => sum + one.refused, 0)
  return panel(
    'tokens',
    'Tokens',
    facts([
      ['this minute', several(minutes.at(-1)?.issued ?? 0, 'token')],
      ['since the start', number(tokens.issued)],
      ['refused', `${number(refused)} in ${minutes.length} min`],
    ]),
    bars(minutes),
  )
}

const BAR = { width: 8, gap: 2, height: 56 }

/** Issued tokens of each minute, refused ones on top of them. */
function bars(minutes: Snapshot['tokens']['perMinute']): ComponentChild {
  const most = Math.max(1, ...minutes.map(({ issued, refused }) => issued + refused))
  const scale = (count: number) => (Math.max(0, count) / most) * BAR.height
  const drawn = minutes.flatMap(({ issued, refused }, at) => {
    const x = at * (BAR.width + BAR.gap)
    const [low, high] = [scale(issued), scale(refused)]
    const bar = (name: string, y: number, height: number) =>
      h('rect', { key: `${name}${at}`, class: name, x, y, width: BAR.width, height })
    return [bar('issued', BAR.height - low, low), bar('refused', BAR.height - low - high, high)]
  })
  const label = `At most ${number(most)} a minute in the last ${minutes.length} minutes`
  const viewBox = `0 0 ${minutes.length * (BAR.width + BAR.gap)} ${BAR.height}`
  return h(
    'figure',
    null,
    h('svg', { viewBox, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, drawn),
    h('figcaption', { class: 'quiet' }, label),
  )
}

export function cachePanel({ cache, source, status }: Snapshot, nowMs: number): ComponentChild {
  const { failure, answeredAt } = source
  const asked = cache.hits + cache.misses + cache.stale
  const rows = cache.held.map(({ path, condition, fetchedAt }) => [
    text(path),
    shown(condition),
    ago(fetchedAt, nowMs),
  ])
  const roles = (status.source.refusedRoles ?? []).map(({ path, code }): [string, string] => [
    'no role',
    `${shown(path)}: ${shown(code)}`,
  ])
  return panel(
    'cache',
    'Cache and source',
    facts([
      ['source', source.isDown ? 'does not answer' : 'answers'],
      ['last answer', answeredAt === undefined ? 'none yet' : ago(answeredAt, nowMs)],
      ['last failure', failure && `${ago(failure.at, nowMs)}: ${shown(failure.sentence)}`],
      ['asked', `${several(source.reads, 'time')}, ${number(source.failures)} failed`],
      ...roles,
      ['cached', `${several(cache.entries, 'answer')}, ${bytes(cache.bytes)}`],
      [
        'from the cache',
        asked === 0
          ? undefined
          : `${Math.round((cache.hits / asked) * 100)} % of ${several(asked, 'read')}`,
      ],
    ]),
    rows.length === 0
      ? undefined
      : table('Held for the boot, and credentials', ['path', 'condition', 'age'], rows),
    more(cache.heldMore),
  )
}

export function lockdownPanel(snapshot: Snapshot, nowMs: number): ComponentChild {
  const { lockdown } = snapshot.status
  if (lockdown === undefined) {
    const off = 'The agent does not listen for redirected callers (transparent.enabled = false).'
    return panel('lockdown', 'Lockdown', h('p', { class: 'quiet' }, off), direct(snapshot, nowMs))
  }
  const { state, since, until, redirected } = lockdown
  return panel(
    'lockdown',
    'Lockdown',
    until === undefined ? undefined : countdown(until, nowMs),
    facts([
      ['state', shown(state)],
      ['since', since && ago(since, nowMs)],
      ['redirected', several(redirected, 'connection')],
    ]),
    direct(snapshot, nowMs),
  )
}

function countdown(until: string, nowMs: number): ComponentChild {
  const left = span((Date.parse(until) - nowMs) / 1000)
  const what = ' until it rolls back, unless confirmed: metabind lockdown confirm'
  return h('p', { class: 'problem', role: 'timer' }, h('strong', null, left), what)
}

/** Who reads the metadata service directly, and whether tokens can be required of everybody. */
function direct(snapshot: Snapshot, nowMs: number): ComponentChildren {
  const { direct: rows, directMore, directTokenless } = snapshot
  if (rows.length === 0) {
    const none = 'No direct readers seen; metabind lockdown on --observe counts them.'
    return h('p', { class: 'quiet' }, none)
  }
  const total = rows.length + directMore
  const readiness =
    directTokenless === 0
      ? `Ready to require tokens: all ${total} that were seen send them.`
      : `Not ready to require tokens: ${directTokenless} of ${total} read without.`
  const cells = rows.map((row) => {
    const [name, place] = whoIs(row)
    const who = [h('bdi', { dir: 'ltr' }, name), h('small', { dir: 'ltr' }, place)]
    return [
      who,
      number(row.readsWithToken),
      number(row.readsWithoutToken),
      text(row.lastPath),
      ago(row.lastSeen, nowMs),
    ]
  })
  const head = ['who', 'with token', 'without', 'last path', 'last']
  return [
    h('p', { class: directTokenless === 0 ? 'good' : 'problem' }, readiness),
    table('Direct readers', head, cells),
    more(directMore),
  ]
}

export function auditPanel({ auditCounts, status }: Snapshot, nowMs: number): ComponentChild {
  const { checkpoint, records, suppressed, lost } = auditCounts
  const { audit } = status
  return panel(
    'audit',
    'Audit',
    facts([
      ['file', audit === undefined ? 'none: records are in the journal' : shown(audit.file)],
      ['head', audit && `${number(audit.seq)}, ${shown(audit.head)}`],
      ['checkpoint', audit && checkpointInWords(checkpoint, nowMs)],
      ['records', number(records)],
      ['only counted', number(suppressed)],
      ['lost', number(lost)],
    ]),
  )
}

function checkpointInWords(
  checkpoint: Snapshot['auditCounts']['checkpoint'],
  nowMs: number,
): string {
  if (checkpoint === undefined) return 'none by this agent yet'
  return `${number(checkpoint.seq)}, ${shown(checkpoint.hash)}, ${ago(checkpoint.at, nowMs)}`
}
