import assert from 'node:assert/strict'
import { readProofUrl } from '../../../src/policy/proof-url.ts'
import { parseProofRequest } from '../../../src/relay/proof.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const PIECES = [
  ...['https://', 'http://', 'HTTPS://', 'h', 'H', 'api.example', '.', ':443', ':80', ':8443', '@'],
  ...[
    '[::1]',
    '127.0.0.1',
    '0x7f',
    '/',
    '//',
    '..',
    './',
    '%2e',
    '%2E',
    '%2F',
    '%5C',
    '%25',
    '%41',
  ],
  ...['%e4', '%E4', ';', '?', '#', '\\', ' ', '\n', '\0', 'a', 'é', '*', '-', '_', '~'],
] as const
const HASH = 'A'.repeat(43)
const BODIES = [
  { kind: 'dpop', method: 'GET', url: 'https://api.example/a?b#c', nonce: 'n', ath: HASH },
  { kind: 'wpt', url: 'https://api.example/a', identity_token: 'a.b.c', tth: HASH },
]

export const target: FuzzTarget = {
  execution:
    'one body read as a request for a proof, or one URL; what stands in a proof has one reading',
  bytesMax: 512,
  turns: 3,
  words: ['"kind":"dpop"', '"kind":"wpt"', '"url":"https://', '"ath":', '"wth":', '%2F', '..'],
  seeds: () => [
    ...BODIES.map((body) => asItIs(JSON.stringify(body))),
    chosen(0, 5, 14, 34),
    chosen(2, 3, 7, 14, 34, 14, 20, 26, 34),
  ],
  run(input) {
    const choices = new Choices(input)
    if (choices.byte() === CHOSEN) return holdsOfUrl(pieced(choices))
    const { code, value } = outcome(() => parseProofRequest(choices.rest()))
    if (code === undefined) holdsOfUrl(value.url.text)
    else assert.match(code, /^PROOF_(REQUEST|URL)$/)
  },
}

/** What rules are asked about is what stands in the proof, and what a URL parser makes of what was written. */
function holdsOfUrl(written: string): void {
  const { code, value } = outcome(() => readProofUrl(written))
  if (code !== undefined) {
    assert.equal(code, 'PROOF_URL')
    return
  }
  const { text, scheme, authority, path } = value
  const parsed = new URL(written)
  assert.equal(parsed.origin + parsed.pathname, text)
  assert.equal(parsed.username + parsed.password, '')
  assert.deepEqual(readProofUrl(text), value)
  assert.ok(
    text === `${scheme}://${authority}${path}` || text === `${scheme}://${authority}${path}/`,
  )
  assert.doesNotMatch(path, /\/\/|\/\.\.?(?:\/|$)|[\\;?#\s]|.\/$/)
}

function pieced(choices: Choices): string {
  let text = ''
  while (!choices.isEmpty && text.length < 600) text += choices.pick(PIECES)
  return text
}
