import assert from 'node:assert/strict'
import { decodeEvidence, encodeEvidence } from '../../../src/format/evidence.ts'
import { verifyEvidence } from '../../../src/verify/index.ts'
import { parseTrust } from '../../../src/verify/trust.ts'
import { altered, Choices } from '../choices.ts'
import { GENUINE_NOW, readGenuine } from '../genuine.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const genuine = readGenuine()
const BYTES = Buffer.from(genuine.evidence)
const options = {
  nonce: Buffer.from(genuine.nonceHex, 'hex'),
  now: GENUINE_NOW,
  trust: parseTrust({
    ekAnchors: [Buffer.from(genuine.ekAnchor, 'base64')],
    identityCertificate: Buffer.from(genuine.identityCertificate),
  }),
  demandDocument: true,
  allowProvisional: true,
}
const VERIFIED = JSON.stringify(verifyEvidence(BYTES, options))

type Json = { [member: string]: Json } | Json[] | string | number | null

export const target: FuzzTarget = {
  execution:
    'one document of evidence verified; an altered one may be accepted only if it says the same',
  bytesMax: 6000,
  words: Object.keys(JSON.parse(genuine.evidence)).map((name) => `"${name}":`),
  seeds: () => [
    Buffer.concat([Buffer.of(0), BYTES]),
    Buffer.concat([Buffer.of(0), Buffer.from('{"format":"metabind evidence","version":1}')]),
    Buffer.of(1, 0, 0, 0, 1, 0, 0, 40, 0, 1),
    ...[0, 1, 2, 3, 4, 5, 6].map((kind) => Buffer.of(2, 0, 9, kind, 4, 1, 7, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(3)
    const bytes =
      kind === 0 ? choices.rest() : kind === 1 ? altered(BYTES, choices) : alteredMembers(choices)
    const verified = outcome(() => verifyEvidence(bytes, options))
    if (verified.value === undefined) {
      assert.match(verified.code, /^VERIFY_/)
      return
    }
    assert.equal(JSON.stringify(verified.value), VERIFIED)
    // It was read, so it can be written, and says the same then.
    const again = encodeEvidence(decodeEvidence(bytes))
    assert.equal(encodeEvidence(decodeEvidence(Buffer.from(again))), again)
  },
}

/** Its JSON with some members changed, exchanged, left out or doubled. */
function alteredMembers(choices: Choices): Buffer {
  const document: Json = JSON.parse(genuine.evidence)
  for (let edits = 1 + choices.below(3); edits > 0; edits -= 1) {
    const places = everyPlace(document)
    const one = places[choices.below(places.length)]
    const other = places[choices.below(places.length)]
    if (one !== undefined && other !== undefined) edit(one, other, choices)
  }
  return Buffer.from(JSON.stringify(document))
}

interface Place {
  readonly holder: { [member: string]: Json }
  readonly member: string
}

function everyPlace(value: Json): Place[] {
  if (typeof value !== 'object' || value === null) return []
  // Of a list, members are numbers.
  const holder = value as { [member: string]: Json }
  return Object.keys(holder).flatMap((member) => [
    { holder, member },
    ...everyPlace(holder[member] ?? null),
  ])
}

function edit({ holder, member }: Place, other: Place, choices: Choices): void {
  const value = holder[member]
  const kind = choices.below(7)
  if (kind === 0) delete holder[member]
  else if (kind === 1) holder[member] = structuredClone(other.holder[other.member] ?? null)
  else if (kind === 2)
    holder[choices.pick(['extra', '__proto__', 'nonce', 'eventLog', 'sha1'])] = value ?? null
  else if (kind === 3) holder[member] = choices.pick<Json>([null, 1, '', [], {}, 'x'])
  else if (typeof value === 'string') holder[member] = alteredText(value, kind, choices)
}

function alteredText(text: string, kind: number, choices: Choices): string {
  if (kind === 4) return altered(Buffer.from(text, 'latin1'), choices, 2).toString('latin1')
  const encoding = /^[0-9a-f]+$/.test(text) ? 'hex' : 'base64'
  return altered(Buffer.from(text, encoding), choices, 2).toString(encoding)
}
