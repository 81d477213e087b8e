import assert from 'node:assert/strict'
import { parseCertificate } from '../../../src/certificates/certificate.ts'
import { type Crl, crlsIn, parseCrl } from '../../../src/certificates/crl.ts'
import {
  byIssuer,
  isCoveredByCrls,
  requireNotRevoked,
} from '../../../src/certificates/revocation.ts'
import { newKey } from '../../harness/certificate.ts'
import { crlExtension, der, entry, extensionsOfEntry, makeCrl } from '../../harness/crl.ts'
import { altered, Choices } from '../choices.ts'
import { alteredDer } from '../der-tree.ts'
import { GENUINE_NOW, readGenuine } from '../genuine.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const genuine = readGenuine()
const anchor = parseCertificate(Buffer.from(genuine.ekAnchor, 'base64'))
const leaf = parseCertificate(Buffer.from(genuine.ekCertificate, 'base64'))
/** No signature at all, so that these are the same in each run. */
const unsigned = { issuer: { der: anchor.der, key: newKey() }, signature: Buffer.alloc(8) }
const REASON = extensionsOfEntry(crlExtension(21, '0a0101'))
const SCOPE = der(0x30, der(0xa0, der(0xa0, der(0x86, Buffer.from('http://a/')))), '8101ff')
const LISTS = [
  makeCrl(unsigned),
  makeCrl({ ...unsigned, version: '', entries: [entry(leaf.serialNumber)] }),
  makeCrl({
    ...unsigned,
    entries: [entry('01'), entry('02', REASON)],
    extensions: [crlExtension(20, '020101'), crlExtension(28, SCOPE, true)],
  }),
] as const

export const target: FuzzTarget = {
  execution: 'one revocation list, read and looked up for a certificate of its issuer',
  bytesMax: 1024,
  seeds: () => [
    ...LISTS.map((list) => Buffer.concat([Buffer.of(0), list])),
    ...LISTS.flatMap((_, which) =>
      [0, 1, 4, 7].map((kind) => Buffer.of(1, which, 0, 9, 3, kind, 1, 2, 3)),
    ),
    ...LISTS.map((_, which) => Buffer.of(2, which, 0, 0, 0, 0, 0, 70, 1, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(3)
    const list = kind === 0 ? choices.rest() : choices.pick(LISTS)
    const bytes =
      kind === 1 ? alteredDer(list, choices) : kind === 2 ? altered(list, choices) : list
    const parsed = outcome(() => parseCrl(bytes))
    if (parsed.value === undefined) {
      assert.equal(parsed.code, 'VERIFY_CRL_FILE')
      return
    }
    assert.deepEqual(crlsIn(bytes), [parsed.value])
    requireNothingProven(parsed.value)
  },
}

/** Only a list that the issuer signed says anything, and none of these is. */
function requireNothingProven(list: Crl): void {
  const crls = byIssuer([list, { ...list, comparableIssuer: anchor.comparableSubject }])
  const path = [leaf, anchor]
  const asked = { crls, demandCrls: true }
  const { code } = outcome(() => requireNotRevoked(path, asked, GENUINE_NOW.getTime()))
  assert.equal(code, 'VERIFY_CERTIFICATE_CRL')
  const { value } = outcome(() => isCoveredByCrls(path, crls, GENUINE_NOW.getTime()))
  assert.notEqual(value, true)
}
