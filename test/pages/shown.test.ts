import { expect, test } from 'vitest'
import { isAsShown } from './shown.ts'

test.each([
  ['the same', 'cn-hangzhou\n'],
  ['valid: for uid 1000 only, for 588 s more', 'valid: for uid 0 only, for 1 s more\n'],
  [
    'i-bp1mfahp6d25gnmuukmf at 2026-01-01T00:00:00Z',
    'i-bp1cgpuwvup0kmzqttsi at 2027-02-02T02:02:02.002Z',
  ],
  ['state  ready\n…', 'state  ready\nanchor  none\nlacked  a line\n'],
  ['…\nlast', 'first\nsecond\nlast\n'],
  ['made where … begins', 'made where the iid begins\n'],
  ['a (b) [c] *', 'a (b) [c] *\n'],
])('%s is shown of what is printed', (shown, printed) => {
  expect(isAsShown(shown === 'the same' ? printed : shown, printed)).toBe(true)
})

test.each([
  ['', 'metabind: AGENT_DOWN\n'],
  ['cn-hangzhou', ''],
  ['valid: for uid 1000 only', 'valid: for gid 1000 only\n'],
  ['state  ready', 'state  ready\nanchor  none\n'],
  ['state  ready\n…', 'state  stopped\n'],
  ['one … line', 'one\nof more than one line\n'],
  ['a.c', 'abc\n'],
])('%s is not what is printed', (shown, printed) => {
  expect(isAsShown(shown, printed)).toBe(false)
})
