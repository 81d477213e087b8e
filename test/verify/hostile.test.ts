import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { certificatesIn, parseCertificate } from '../../src/certificates/certificate.ts'
import {
  basicConstraints,
  directoryNames,
  extKeyUsages,
  hasKeyUsage,
} from '../../src/certificates/certificate-extensions.ts'
import {
  decodeAnswer,
  decodeChallenge,
  decodeKeptSecret,
  decodeToolsCredential,
  encodeAnswer,
  encodeChallenge,
  encodeKeptSecret,
} from '../../src/format/activation.ts'
import { replayEventLog } from '../../src/format/event-log.ts'
import { EVIDENCE_BYTES_MAX, encodeEvidence } from '../../src/format/evidence.ts'
import { parseAttest } from '../../src/format/tpm-attest.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { parseSignature } from '../../src/format/tpm-signature.ts'
import { certificatesOfNv } from '../../src/identity/nv-certificate.ts'
import { parsePcrPolicy } from '../../src/measurements/pcr-policy.ts'
import { parseSignedDocument, readDocument } from '../../src/verify/identity-document.ts'
import { makeChallenge, verifyEvidence, verifyIdentityToken } from '../../src/verify/index.ts'
import { codeOf, genuineCaseOfFile, refusalOf } from '../harness/verify-case.ts'

/** Any bytes: a value or a refusal with a code. */

const it = await genuineCaseOfFile()

/** Runs a parser. Whatever it throws must be a refusal. */
function survive(parse: (bytes: Buffer) => unknown, bytes: Buffer): void {
  try {
    parse(bytes)
  } catch (error) {
    codeOf(error)
  }
}

const readCertificate = (bytes: Buffer) => {
  const certificate = parseCertificate(bytes)
  return [
    basicConstraints(certificate),
    hasKeyUsage(certificate, 5),
    extKeyUsages(certificate),
    directoryNames(certificate),
  ]
}

const PARSERS: readonly [string, (bytes: Buffer) => unknown, () => Buffer][] = [
  ['TPMT_PUBLIC', parsePublic, () => it.evidence.ek.public],
  ['TPMS_ATTEST', parseAttest, () => it.evidence.quote.attest],
  ['TPMT_SIGNATURE', parseSignature, () => it.evidence.quote.signature],
  ['certificate', readCertificate, () => it.evidence.ek.certificates[0] ?? Buffer.alloc(0)],
  ['anchors', certificatesIn, () => it.authority.der],
  ['NV certificates', certificatesOfNv, () => it.authority.der],
  [
    'PKCS7',
    (bytes) => readDocument(parseSignedDocument(bytes)),
    () => it.evidence.identityDocument?.pkcs7 ?? Buffer.alloc(0),
  ],
  [
    'evidence',
    (bytes) => verifyEvidence(bytes, it.options),
    () => Buffer.from(encodeEvidence(it.evidence)),
  ],
  ['event log', replayEventLog, () => Buffer.alloc(64)],
  ['PCR policy', parsePcrPolicy, () => Buffer.from('{"format":"metabind pcr policy","version":1}')],
  ['challenge', decodeChallenge, () => Buffer.from('{"format":"metabind challenge","version":1}')],
  ['answer', decodeAnswer, () => Buffer.from('{"format":"metabind answer","version":1}')],
  ['secret', decodeKeptSecret, () => Buffer.from('{}')],
  ['tpm2-tools credential', decodeToolsCredential, () => Buffer.from('badcc0de00000001', 'hex')],
  [
    'identity token',
    (bytes) =>
      verifyIdentityToken(bytes.toString('latin1'), {
        sk: { kty: 'EC', crv: 'P-256', x: '', y: '' },
        audience: '',
        instanceId: '',
        iid: '',
        now: new Date(0),
      }),
    () => Buffer.from('a.b.c'),
  ],
]

describe('any bytes', () => {
  test.each(PARSERS)('%s', (_, parse) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2048 }), (bytes) =>
        survive(parse, Buffer.from(bytes)),
      ),
      { numRuns: 300 },
    )
  })
})

describe('genuine bytes, some of them changed', () => {
  test.each(PARSERS)('%s', (_, parse, genuine) => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(changes, fc.nat(), fc.boolean(), (edits, cut, isCut) => {
        const bytes = Buffer.from(genuine())
        for (const [at, value] of edits) bytes[at % bytes.length] = value
        survive(parse, isCut ? bytes.subarray(0, cut % bytes.length) : bytes)
      }),
      { numRuns: 200 },
    )
  })
})

describe('evidence', () => {
  const json = () => JSON.parse(encodeEvidence(it.evidence))
  const verify = (value: unknown) =>
    refusalOf(() => verifyEvidence(Buffer.from(JSON.stringify(value)), it.options))

  test('larger than the limit', () => {
    const bytes = Buffer.alloc(EVIDENCE_BYTES_MAX + 1, 0x20)
    expect(refusalOf(() => verifyEvidence(bytes, it.options)).code).toBe('VERIFY_SIZE')
  })

  test.each([
    ['a member twice', (text: string) => text.replace('{', '{"nonce":"00",')],
    [
      'a member twice, inside',
      (text: string) => text.replace('"ek":{', '"ek":{"kind":"RSA-2048",'),
    ],
    ['a byte order mark', (text: string) => `\ufeff${text}`],
  ])('genuine, but %s', (_, alter) => {
    const bytes = Buffer.from(alter(encodeEvidence(it.evidence)))
    const refusal = refusalOf(() => verifyEvidence(bytes, it.options))
    expect(refusal).toEqual({ code: 'VERIFY_FORMAT', check: 'format' })
  })

  test.each([
    ['not UTF-8', Buffer.from([0xff, 0xfe])],
    ['nested arrays', Buffer.from('['.repeat(500_000))],
    ['null', Buffer.from('null')],
    ['a string', Buffer.from('"metabind evidence"')],
  ])('%s', (_, bytes) => {
    expect(refusalOf(() => verifyEvidence(bytes, it.options)).code).toBe('VERIFY_FORMAT')
  })

  test('nested too deeply, before it is parsed', () => {
    for (const deep of [`${'['.repeat(33)}${']'.repeat(33)}`, '{"a":'.repeat(400_000)]) {
      const bytes = Buffer.from(`{"extra":${deep}}`)
      expect(() => verifyEvidence(bytes, it.options)).toThrow('It is nested too deeply.')
    }
  })

  test('another version', () => {
    expect(verify({ ...json(), version: 1 })).toEqual({ code: 'VERIFY_VERSION', check: 'format' })
    expect(verify({ ...json(), version: 3 })).toEqual({ code: 'VERIFY_VERSION', check: 'format' })
  })

  test.each([
    ['an unknown member', () => ({ ...json(), extra: 1 })],
    [
      'a prototype',
      () => JSON.parse(encodeEvidence(it.evidence).replace('{', '{"__proto__":{"a":1},')),
    ],
    ['base64 without padding', () => ({ ...json(), quote: { attest: 'AQ', signature: 'AQ==' } })],
    [
      'base64 of another spelling',
      () => ({ ...json(), quote: { attest: 'AR==', signature: 'AQ==' } }),
    ],
    ['upper-case hex', () => ({ ...json(), nonce: 'AB'.repeat(32) })],
    ['a short nonce', () => ({ ...json(), nonce: 'ab'.repeat(15) })],
    [
      'nine certificates',
      () => ({ ...json(), ek: { ...json().ek, certificates: Array(9).fill('AQ==') } }),
    ],
    ['PCR 32', () => ({ ...json(), pcrs: { sha256: { '32': '00'.repeat(32) } } })],
    ['PCR 07', () => ({ ...json(), pcrs: { sha256: { '07': '00'.repeat(32) } } })],
    ['an instance id with a line break', () => ({ ...json(), instanceId: 'i-1\ni-2' })],
  ])('%s', (_, make) => {
    expect(verify(make())).toEqual({ code: 'VERIFY_FORMAT', check: 'format' })
  })

  test.each([
    ['no JSON', '{', 'VERIFY_PCR_POLICY_FILE'],
    ['no PCR', '{"format":"metabind pcr policy","version":1,"pcrs":{}}', 'VERIFY_PCR_POLICY_FILE'],
    [
      'a bank of SHA-1',
      '{"format":"metabind pcr policy","version":1,"pcrs":{"sha1":{}}}',
      'VERIFY_PCR_POLICY_FILE',
    ],
  ])('a PCR policy file: %s', (_, text, code) => {
    const options = { ...it.options, pcrPolicy: Buffer.from(text) }
    const bytes = Buffer.from(encodeEvidence(it.evidence))
    expect(refusalOf(() => verifyEvidence(bytes, options)).code).toBe(code)
  })

  test.each([
    ['no certificate', { ekAnchors: [Buffer.from('text')] }],
    ['a broken one', { ekAnchors: [Buffer.from('3003020101', 'hex')] }],
    ['a short fingerprint', { ekPins: ['abcd'] }],
  ])('anchors: %s', (_, trust) => {
    const bytes = Buffer.from(encodeEvidence(it.evidence))
    expect(refusalOf(() => verifyEvidence(bytes, { ...it.options, trust })).code).toBe(
      'VERIFY_ANCHOR',
    )
  })
})

describe('the files of activation, and a PCR policy', () => {
  const files = (): [string, string, (bytes: Buffer) => unknown][] => {
    const { challenge, kept } = makeChallenge(Buffer.from(encodeEvidence(it.evidence)), it.options)
    const { id, secret } = kept
    const pcrs = { sha256: { '0': '00'.repeat(32) } }
    return [
      ['VERIFY_FORMAT', encodeChallenge(challenge), decodeChallenge],
      [
        'VERIFY_FORMAT',
        encodeAnswer({ format: 'metabind answer', version: 1, id, secret }),
        decodeAnswer,
      ],
      ['VERIFY_FORMAT', encodeKeptSecret(kept), decodeKeptSecret],
      [
        'VERIFY_PCR_POLICY_FILE',
        JSON.stringify({ format: 'metabind pcr policy', version: 1, pcrs }),
        parsePcrPolicy,
      ],
    ]
  }

  test('are refused with a member that stands twice, and behind a byte order mark', () => {
    for (const [code, text, parse] of files()) {
      parse(Buffer.from(text))
      const twice = text.replace('{', '{"version":1,')
      expect(refusalOf(() => parse(Buffer.from(twice))).code).toBe(code)
      expect(refusalOf(() => parse(Buffer.from(`\ufeff${text}`))).code).toBe(code)
    }
  })
})
