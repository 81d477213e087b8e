import assert from 'node:assert/strict'
import { canonicalTarget, TARGET_BYTES_MAX } from '../../../src/policy/canonical-path.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const PIECES = [
  ...['/', '//', '.', '..', '%2e', '%2E', '%2f', '%5c', '%00', '%25', '%252e', '%41', '%2d', '%7E'],
  ...['latest', 'meta-data', 'a', 'Z', '0', '-', '_', '~', '!', '$', '&', "'", '(', ')', '*', '+'],
  ...[',', '=', ':', '@', ';', '?', '#', '\\', ' ', '%', '%2', '%zz', '\0', '\n', '\x1b', '\u00e9'],
] as const
// By itself or of segments, none of them dots.
const CANONICAL = /^\/$|^(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+$/

export const target: FuzzTarget = {
  execution: 'one request target read, and what it became read again by us and by a URL parser',
  bytesMax: 256,
  turns: 6,
  words: ['latest', 'meta-data', '%2e', '%2f', '%25', '..', 'audience='],
  seeds: () => [
    ...[
      '/',
      '/latest/meta-data/',
      '//latest///a',
      '/%6deta%2ddata',
      '/a?audience=x%20y',
      '/...',
    ].map(asItIs),
    chosen(0, 14, 0, 15, 37, 16),
  ],
  run(input) {
    const choices = new Choices(input)
    const target = choices.byte() === CHOSEN ? pieced(choices) : choices.rest().toString('latin1')
    const first = outcome(() => canonicalTarget(target))
    if (first.code !== undefined) {
      assert.equal(first.code, 'REQUEST_PATH')
      return
    }
    const { path, query } = first.value
    assert.ok(target.length <= TARGET_BYTES_MAX)
    assert.ok(CANONICAL.test(path), path)
    // Judged, looked up and sent are one: nobody who reads it again reads something else.
    const again = canonicalTarget(query === undefined ? path : `${path}?${query}`)
    assert.ok(again.path === path && again.query === query)
    assert.equal(new URL(path, 'http://source').pathname, path)
    assert.equal(decodeURIComponent(path), path)
  },
}

function pieced(choices: Choices): string {
  let text = '/'
  while (!choices.isEmpty && text.length < TARGET_BYTES_MAX + 16) text += choices.pick(PIECES)
  return text
}
