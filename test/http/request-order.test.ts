import { expect, test } from 'vitest'
import { framingOf } from '../../src/http/request-order.ts'

const NOTHING = { hasHost: false, hasUpgrade: false, hasBody: false }

test.each([
  [[], {}],
  [['X', 'Host'], {}],
  [['Host', ''], { hasHost: true }],
  [['X', 'x', 'UPGRADE', 'h2c', 'host', 'x'], { hasHost: true, hasUpgrade: true }],
  [['Transfer-Encoding', 'chunked'], { hasBody: true }],
  [['X', '1', 'Content-Length', '0'], {}],
  [['X', '0', 'Content-Length', '5'], { hasBody: true }],
  [['X', 'x', 'content-length', '00'], {}],
  // Not for us to guess.
  [['Content-Length', 'x'], { hasBody: true }],
])('the headers %j say %j', (rawHeaders, framing) => {
  expect(framingOf(rawHeaders)).toEqual({ ...NOTHING, ...framing })
})
