import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { decodeLine, encodeBody, encodeLine, LINE_BYTES_MAX } from '../../../src/audit/chain.ts'
import { verifyAudit } from '../../../src/audit/verify.ts'
import { altered, Choices } from '../choices.ts'
import { readGenuine } from '../genuine.ts'
import type { FuzzTarget } from '../target.ts'

const { lines: GENUINE, keySpki, head } = readGenuine().audit
const KEY = createPublicKey({ key: Buffer.from(keySpki, 'base64'), format: 'der', type: 'spki' })
const TEXT = GENUINE.join('\n')

export const target: FuzzTarget = {
  execution: 'one audit file verified by key and head, or one record written as a line and read',
  bytesMax: 1536,
  words: ['{"seq":1,"prev":"', '","hash":"', '"event":"chain.start"', '"lost":1', '"checkpoint":{'],
  seeds: () => [
    Buffer.concat([Buffer.of(0), Buffer.from(TEXT)]),
    Buffer.concat([Buffer.of(3), Buffer.from('token.issued \u00e4\ud800')]),
    ...[0, 1, 2, 3, 4, 5].map((kind) => Buffer.of(1, 0, 0, 1, 0, kind, 40, 2, 1)),
    ...[0, 1, 2, 3].map((kind) => Buffer.of(2, 1, kind, 2, 3, kind, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(4)
    if (kind === 3) return requireRoundTrip(choices)
    const text =
      kind === 0
        ? choices.rest().toString('latin1')
        : kind === 1
          ? alteredText(choices)
          : moved(choices)
    const files = [{ name: 'audit', lines: text.split('\n') }]
    const { broken, records } = verifyAudit(files, { key: KEY, head: { hash: head, last: true } })
    // Nothing but the chain itself ends with its head and is signed with its key.
    if (broken === undefined) assert.equal(text, TEXT)
    assert.ok(records <= text.split('\n').length)
    // Without knowing the head, what a checkpoint signs is still the beginning of it, unaltered.
    const known = verifyAudit(files, { key: KEY })
    if (known.broken !== undefined) return
    const signed = text.split('\n').slice(0, known.signedUpTo)
    assert.deepEqual(signed, GENUINE.slice(0, known.signedUpTo))
  },
}

function alteredText(choices: Choices): string {
  return altered(Buffer.from(TEXT, 'latin1'), choices).toString('latin1')
}

/** Whole lines left out, doubled, exchanged, or made again with another number. */
function moved(choices: Choices): string {
  const lines = [...GENUINE]
  for (let edits = 1 + choices.below(3); edits > 0; edits -= 1) {
    const [kind, at, to] = [choices.below(4), choices.below(lines.length || 1), choices.below(8)]
    const line = lines[at] ?? ''
    if (kind === 0) lines.splice(at, 1)
    else if (kind === 1) lines.splice(to, 0, line)
    else if (kind === 2) lines.splice(to, 0, ...lines.splice(at, 1))
    else lines[at] = remade(line, choices)
  }
  return lines.join('\n')
}

/** Who can write the file can make any line, but sign none. */
function remade(line: string, choices: Choices): string {
  const { prev = '0'.repeat(64), record = {} } = decodeLine(line) ?? {}
  const { seq: _, prev: __, hash: ___, ...rest } = record
  const body = encodeBody({ event: 'token.issued', ...rest, [choices.text(4)]: choices.text(8) })
  return encodeLine(prev, choices.byte(), body).text
}

/** A record with whatever callers can put into one. */
function requireRoundTrip(choices: Choices): void {
  const event = choices.pick(['token.issued', 'request.refused'])
  const path = choices.rest().toString(choices.isTrue() ? 'utf8' : 'latin1')
  const { text, head: end } = encodeLine('0'.repeat(64), 1, encodeBody({ event, ...{ path } }))
  assert.ok(text.length <= LINE_BYTES_MAX && /^[ -~]*$/.test(text))
  const read = decodeLine(text)
  assert.equal(read?.hash, end.hash)
  assert.equal(read?.record.path, path)
}
