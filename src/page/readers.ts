import { type ComponentChild, Fragment, h } from 'preact'
import type { Explanation, Snapshot } from '../admin-api.ts'
import { more, panel, text } from './panel.ts'
import { ago, number, shown, whoIs } from './words.ts'

type Reader = Snapshot['readers'][number]

/** Which cell is explained, and what the agent said of it; undefined while it is asked. */
export interface Explained {
  readonly id: number
  readonly said: Explanation | string | undefined
}

const KINDS = [
  ['metadata', 'metadata'],
  ['credentials', 'credentials'],
  ['user-data', 'user data'],
  ['identity', 'identity'],
] as const
const COUNTS = [
  ['allowed', 'allowed', '✓'],
  ['wouldRefuse', 'would be refused', '!'],
  ['refused', 'refused', '✕'],
] as const

/** Users, units and containers against kinds of path. A cell is a button; what explains it stands below its row. */
export function readersPanel(
  { readers, readersMore, status }: Snapshot,
  nowMs: number,
  explained: Explained | undefined,
  onExplain: (id: number) => void,
): ComponentChild {
  if (readers.length === 0) {
    return panel(
      'readers',
      'Who reads what',
      h('p', { class: 'quiet' }, 'Nobody has read anything yet.'),
    )
  }
  const rows = [...Map.groupBy(readers, whoKey)].map(([key, cells]) =>
    h(
      Fragment,
      { key },
      rowOf(cells, nowMs, explained, onExplain),
      explanationOf(cells, explained),
    ),
  )
  const heads = ['who', ...KINDS.map(([, name]) => name)]
  return panel(
    'readers',
    'Who reads what',
    h(
      'table',
      { class: 'matrix' },
      h(
        'caption',
        null,
        `Policy in mode ${shown(status.policy.mode)}. Choose a cell to see the rule that decides.`,
      ),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          heads.map((name) => h('th', { scope: 'col' }, name)),
        ),
      ),
      h('tbody', null, rows),
    ),
    more(readersMore),
  )
}

function whoKey({ uid, unit, container, isPlaced }: Reader): string {
  return JSON.stringify([uid, unit, container, isPlaced])
}

function rowOf(
  cells: readonly Reader[],
  nowMs: number,
  explained: Explained | undefined,
  onExplain: (id: number) => void,
): ComponentChild {
  const [first] = cells
  const [name, place] = first === undefined ? ['', ''] : whoIs(first)
  const who = h(
    'th',
    { scope: 'row' },
    h('bdi', { dir: 'ltr' }, name),
    h('small', { dir: 'ltr' }, place),
  )
  const columns = KINDS.map(([kind, head]) => {
    const cell = cells.find((one) => one.kind === kind)
    const content = cell && cellOf(cell, head, nowMs, explained?.id === cell.id, onExplain)
    return h(
      'td',
      { key: kind, 'data-head': head, class: cell === undefined ? 'none' : '' },
      content,
    )
  })
  return h('tr', null, who, columns)
}

function cellOf(
  cell: Reader,
  head: string,
  nowMs: number,
  isOpen: boolean,
  onExplain: (id: number) => void,
): ComponentChild {
  const counts = COUNTS.filter(([name]) => cell[name] > 0).map(([name, words, mark]) =>
    h(
      'span',
      { key: name, class: `count ${name}` },
      h('span', { 'aria-hidden': 'true' }, mark),
      ` ${number(cell[name])} ${words}`,
    ),
  )
  return h(
    'button',
    {
      type: 'button',
      'aria-expanded': isOpen,
      'aria-controls': isOpen ? `why-${cell.id}` : undefined,
      onClick: () => onExplain(cell.id),
    },
    h('span', { class: 'narrow' }, head),
    counts,
    h('small', null, ago(cell.lastAt, nowMs)),
  )
}

function explanationOf(
  cells: readonly Reader[],
  explained: Explained | undefined,
): ComponentChild | undefined {
  const cell = cells.find(({ id }) => id === explained?.id)
  if (cell === undefined || explained === undefined) return undefined
  return h(
    'tr',
    { class: 'why', id: `why-${cell.id}` },
    h('td', { colSpan: KINDS.length + 1, 'aria-live': 'polite' }, inWords(explained.said, cell)),
  )
}

/** The words of `metabind explain`. */
function inWords(said: Explained['said'], { lastPath }: Reader) {
  if (said === undefined) return 'asking the agent …'
  if (typeof said === 'string') return h('p', null, said)
  const verdict = said.allowed
    ? 'allowed'
    : said.mode === 'audit'
      ? 'allowed, but recorded'
      : 'refused'
  const passed = said.passedOver.map(({ rule, name, mismatch }) =>
    h('li', { key: rule }, `rule ${rule} (`, text(name), `) is not about it: ${shown(mismatch)}`),
  )
  return [
    h('p', null, text(lastPath), `: ${verdict}: `, text(said.why)),
    passed.length > 0 ? h('ul', null, passed) : undefined,
  ]
}
