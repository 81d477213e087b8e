import { type ComponentChildren, h } from 'preact'
import type { Snapshot } from '../admin-api.ts'
import { more, panel, text } from './panel.ts'
import { ago, several, whoIs } from './words.ts'

type Alarm = Snapshot['alarms'][number]

/** What nobody has seen yet, before everything else. */
export function alarmBanner(
  { alarms, alarmsMore }: Snapshot,
  nowMs: number,
  onAcknowledge: (id: number) => void,
): ComponentChildren {
  const open = alarms.filter(({ acknowledged }) => acknowledged === undefined)
  if (open.length === 0) return undefined
  const items = open.map((alarm) =>
    h(
      'li',
      { key: alarm.id },
      h('p', { class: 'alarm-text' }, ...inWords(alarm, nowMs)),
      h('button', { type: 'button', onClick: () => onAcknowledge(alarm.id) }, 'Acknowledge'),
    ),
  )
  return h(
    'div',
    { class: 'alarms', role: 'alert' },
    h('h2', null, 'Tokens of another instance were presented here'),
    h('ul', null, items),
    more(alarmsMore),
  )
}

export function seenAlarms({ alarms }: Snapshot, nowMs: number): ComponentChildren {
  const seen = alarms.flatMap(({ acknowledged, ...alarm }) =>
    acknowledged === undefined ? [] : [{ ...alarm, acknowledged }],
  )
  if (seen.length === 0) return undefined
  const items = seen.map((alarm) => {
    const { uid, at } = alarm.acknowledged
    const by = `; acknowledged ${ago(at, nowMs)} by uid ${uid ?? '?'}`
    return h('li', { key: alarm.id }, ...inWords(alarm, nowMs), by)
  })
  return panel('seen', 'Acknowledged alarms', h('ul', null, items))
}

function inWords(alarm: Alarm, nowMs: number): ComponentChildren[] {
  const [name, place] = whoIs(alarm)
  const pid = alarm.pid === undefined ? '' : `, last by pid ${alarm.pid}`
  return [
    h('strong', null, h('bdi', { dir: 'ltr' }, name)),
    ', ',
    h('bdi', { dir: 'ltr' }, place),
    `: ${several(alarm.count, 'foreign token')}${pid}, ${ago(alarm.lastAt, nowMs)}. What the last one says of its instance: `,
    text(alarm.identity),
  ]
}
