import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { answers } from './answers.ts'
import { lockdown } from './lockdown.ts'
import { explore, type Model } from './machine.ts'
import { refresh } from './refresh.ts'
import { startup } from './startup.ts'
import { tokenLife } from './token-life.ts'

/** docs/reliability.md says how large the models are. */

const PAGE = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8')

function figures<State>(model: Model<State>): string {
  const { states, transitions } = explore(model)
  return [states.size, transitions].map((count) => count.toLocaleString('en')).join(' | ')
}

test.each([
  ['`token-life`', () => figures(tokenLife())],
  ['`answers`', () => figures(answers())],
  ['`refresh`, credentials', () => figures(refresh('credentials'))],
  ['`refresh`, other', () => figures(refresh('other'))],
  ['`startup`', () => figures(startup())],
  ['`lockdown`', () => figures(lockdown())],
])('of %s the page says its size', (name, of) => {
  expect(PAGE).toContain(`| ${name} | ${of()} |`)
})
