import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import {
  type Certificate,
  certificatesIn,
  parseCertificate,
} from '../../../src/certificates/certificate.ts'
import {
  basicConstraints,
  directoryNames,
  extKeyUsages,
  hasKeyUsage,
  subjectAttributes,
} from '../../../src/certificates/certificate-extensions.ts'
import { bySubject, validatePath } from '../../../src/certificates/chain.ts'
import { parseDer } from '../../../src/certificates/der.ts'
import { comparableName } from '../../../src/certificates/distinguished-name.ts'
import { requirePermittedNames } from '../../../src/certificates/name-constraints.ts'
import { der } from '../../harness/crl.ts'
import { altered, Choices } from '../choices.ts'
import { alteredDer } from '../der-tree.ts'
import { GENUINE_NOW, readGenuine } from '../genuine.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const genuine = readGenuine()
const ANCHOR = Buffer.from(genuine.ekAnchor, 'base64')
const LEAF = Buffer.from(genuine.ekCertificate, 'base64')
const IDENTITY = certificatesIn(Buffer.from(genuine.identityCertificate))[0]?.der ?? ANCHOR
const GENUINE = [LEAF, ANCHOR, IDENTITY] as const
const anchor = parseCertificate(ANCHOR)
const anchors = { fingerprints: new Set([anchor.fingerprint]), pool: bySubject([anchor]) }
/** May name what is below a.b in every form that has a text, the network 0.0.0.0/8 and no directory name but a. */
const constrained = {
  ...anchor,
  extensions: new Map([
    ...anchor.extensions,
    [
      '2.5.29.30',
      {
        critical: true,
        value: der(
          0x30,
          der(
            0xa0,
            ...['8203612e62', '8103612e62', '8603612e62', '8708 00000000 ff000000'].map((base) =>
              der(0x30, base),
            ),
            der(0x30, 'a40e 300c 310a 3008 0603550403 0c0161'),
          ),
        ),
      },
    ],
  ]),
}
const SIGNED = new Set(GENUINE.map((bytes) => parseCertificate(bytes).tbs.toString('hex')))

export const target: FuzzTarget = {
  execution:
    "one certificate with its extensions read, compared with OpenSSL's reading, and its path looked for",
  bytesMax: 1024,
  seeds: () => [
    ...GENUINE.map((bytes) => Buffer.concat([Buffer.of(0), bytes])),
    ...GENUINE.flatMap((_, which) =>
      [0, 1, 4, 7].map((kind) => Buffer.of(1, which, 0, 9, 3, kind, 1, 2, 3)),
    ),
    ...GENUINE.map((_, which) => Buffer.of(2, which, 0, 0, 0, 0, 0, 70, 1, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(3)
    const whole = kind === 0 ? choices.rest() : choices.pick(GENUINE)
    const bytes =
      kind === 1 ? alteredDer(whole, choices) : kind === 2 ? altered(whole, choices) : whole
    const parsed = outcome(() => parseCertificate(bytes))
    if (parsed.value === undefined) {
      assert.equal(parsed.code, 'VERIFY_CERTIFICATE')
      return
    }
    readExtensions(parsed.value)
    requireSameReading(parsed.value)
    requireNames(parsed.value)
    const path = outcome(() => validatePath(parsed.value, [], anchors, GENUINE_NOW))
    if (path.value === undefined) {
      assert.match(path.code, /^VERIFY_CERTIFICATE/)
      return
    }
    // Only what the authority signed may lead to it; how a signature is written is another matter.
    assert.ok(
      SIGNED.has(parsed.value.tbs.toString('hex')),
      'an altered certificate led to the anchor',
    )
  },
}

function readExtensions(certificate: Certificate): void {
  for (const read of [basicConstraints, extKeyUsages, directoryNames, subjectAttributes]) {
    const { code } = outcome(() => read(certificate))
    if (code !== undefined) assert.equal(code, 'VERIFY_CERTIFICATE')
  }
  for (const bit of [0, 2, 4, 5]) outcome(() => hasKeyUsage(certificate, bit))
  assert.equal(comparableName(parseDer(certificate.subject)), certificate.comparableSubject)
}

/** As if it stood under itself, and under an authority that may name little: refused by code, or passed. */
function requireNames(certificate: Certificate): void {
  for (const above of [certificate, constrained]) {
    const { code } = outcome(() => requirePermittedNames([certificate, above]))
    if (code !== undefined) assert.match(code, /^VERIFY_CERTIFICATE/)
  }
}

/** OpenSSL refuses less in some places and more in others; what both read must be the same. */
function requireSameReading(certificate: Certificate): void {
  let theirs: X509Certificate
  try {
    theirs = new X509Certificate(certificate.der)
  } catch {
    return
  }
  assert.equal(theirs.fingerprint256.replaceAll(':', '').toLowerCase(), certificate.fingerprint)
  assert.ok(theirs.raw.equals(certificate.der))
  const { notBefore, notAfter } = certificate
  assert.deepEqual([theirs.validFromDate, theirs.validToDate], [notBefore, notAfter])
  const isAuthority = outcome(
    () => basicConstraints(certificate)?.ca === true && hasKeyUsage(certificate, 5) !== false,
  )
  if (isAuthority.value) assert.equal(theirs.ca, true, 'an authority for us alone')
}
