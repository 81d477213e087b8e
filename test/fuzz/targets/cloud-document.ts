import assert from 'node:assert/strict'
import {
  parseSignedDocument,
  readDocument,
  requireDocumentSignature,
} from '../../../src/verify/identity-document.ts'
import { parseTrust } from '../../../src/verify/trust.ts'
import { altered, Choices } from '../choices.ts'
import { alteredDer } from '../der-tree.ts'
import { readGenuine } from '../genuine.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const { pkcs7, identityCertificate } = readGenuine()
const GENUINE = Buffer.from(pkcs7, 'base64')
const CONTENT = parseSignedDocument(GENUINE).content
const trust = parseTrust({ identityCertificate: Buffer.from(identityCertificate) })

export const target: FuzzTarget = {
  execution: 'one PKCS#7 read, its content read, and its signature checked',
  bytesMax: 1024,
  seeds: () => [
    Buffer.concat([Buffer.of(0), GENUINE]),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((kind) => Buffer.of(1, 0, 9, 3, kind, 1, 2, 3)),
    Buffer.of(2, 0, 0, 0, 0, 0, 70, 1, 1),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(3)
    const bytes = [
      choices.rest.bind(choices),
      () => alteredDer(GENUINE, choices),
      () => altered(GENUINE, choices),
    ][kind]?.()
    const parsed = outcome(() => parseSignedDocument(bytes ?? GENUINE))
    if (parsed.value === undefined) {
      assert.equal(parsed.code, 'VERIFY_DOCUMENT')
      return
    }
    const document = parsed.value
    const read = outcome(() => readDocument(document))
    if (read.value === undefined) assert.equal(read.code, 'VERIFY_DOCUMENT')
    else assert.deepEqual(read.value, JSON.parse(document.content.toString('utf8')))
    const { identityCertificate: pinned, identityKey } = trust
    const { code } = outcome(() => requireDocumentSignature(document, pinned, identityKey))
    if (code === undefined) assert.ok(document.content.equals(CONTENT), 'other content is accepted')
    else assert.equal(code, 'VERIFY_DOCUMENT_SIGNATURE')
  },
}
