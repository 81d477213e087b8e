import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** docs/runbook.md says of each alert and of each state what it means, what to look at and what to do. */

const textOf = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const RUNBOOK = textOf('docs/runbook.md')

/** The sections of the third level below a heading of the second. */
function sectionsBelow(heading: string): ReadonlyMap<string, string> {
  const [, after = ''] = RUNBOOK.split(`\n## ${heading}\n`)
  const [body = ''] = after.split('\n## ')
  return new Map(
    body
      .split('\n### ')
      .slice(1)
      .map((section): [string, string] => [section.split('\n', 1)[0] ?? '', section]),
  )
}

const ALERTS = [...textOf('docs/prometheus-alerts.yml').matchAll(/^ +- alert: (\w+)$/gm)].map(
  ([, name = '']) => name,
)
/** As `metabind status` prints them: those of the start, `ready`, and what status.ts makes of it. */
const STATES = new Set([
  ...[...textOf('src/agent/startup.ts').matchAll(/readonly at: '([\w-]+)'/g)].map(
    ([, state = '']) => state,
  ),
  ...[...textOf('src/agent/status.ts').matchAll(/\? '([\w-]+)' : state\.at/g)].map(
    ([, state = '']) => state,
  ),
])

test('each alert has a section, and no other', () => {
  expect(ALERTS).toContain('MetabindForeignToken')
  expect([...sectionsBelow('Alerts').keys()].toSorted()).toEqual(ALERTS.toSorted())
})

test('each alert names its section', () => {
  const named = [...textOf('docs/prometheus-alerts.yml').matchAll(/runbook: (.+)$/gm)]
  const sections = ALERTS.map((alert) => `docs/runbook.md#${alert.toLowerCase()}`)
  expect(named.map(([, section]) => section)).toEqual(sections)
})

test('each state of metabind status has a section, and no other', () => {
  expect(STATES).toContain('stopped')
  expect(STATES).toContain('ready')
  expect([...sectionsBelow('States').keys()].toSorted()).toEqual([...STATES].toSorted())
})

test.each([...sectionsBelow('States'), ...sectionsBelow('Alerts')])(
  '%s: what it means, what to look at, what to do',
  (name, section) => {
    const [, meaning = ''] = section.split(`${name}\n\n`)
    expect(meaning).toMatch(/^[A-Z]/)
    expect(section).toContain('\n- **Look at**')
    expect(section).toContain('\n- **Do**')
  },
)
