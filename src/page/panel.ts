import { type ComponentChild, type ComponentChildren, h } from 'preact'
import { shown } from './words.ts'

/** A part of the page, with its heading. */
export function panel(id: string, title: string, ...children: ComponentChildren[]): ComponentChild {
  const heading = h('h2', { id }, title)
  return h('section', { class: `panel ${id}`, 'aria-labelledby': id }, heading, ...children)
}

/** Names and values, one below the other; without a value a name is left out. */
export function facts(rows: readonly (readonly [string, string | undefined])[]): ComponentChild {
  const entries = rows
    .filter((row): row is readonly [string, string] => row[1] !== undefined)
    .map(([name, value]) => h('div', { key: name }, h('dt', null, name), h('dd', null, value)))
  return h('dl', null, entries)
}

/** A table whose cells become lines of their own, with the head's name before them, where it is narrow. */
export function table(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly ComponentChildren[])[],
): ComponentChild {
  const line = (cells: readonly ComponentChildren[]) =>
    h(
      'tr',
      null,
      cells.map((cell, at) =>
        h(
          at === 0 ? 'th' : 'td',
          { 'data-head': head[at], ...(at === 0 ? { scope: 'row' } : {}) },
          cell,
        ),
      ),
    )
  const heads = head.map((name) => h('th', { scope: 'col' }, name))
  return h(
    'table',
    null,
    h('caption', null, caption),
    h('thead', null, h('tr', null, heads)),
    h('tbody', null, rows.map(line)),
  )
}

/** What others have chosen: written from left to right, whatever is in it. */
export function text(value: string): ComponentChild {
  return h('bdi', { dir: 'ltr' }, shown(value))
}

/** That a list is longer than what is shown of it. */
export function more(count: number): ComponentChildren {
  return count > 0 ? h('p', { class: 'quiet' }, `… and ${count} more`) : undefined
}
