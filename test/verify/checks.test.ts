import { createHash, randomBytes } from 'node:crypto'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/test/swtpm.ts'
import { sized } from '../../src/format/byte-reader.ts'
import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../../src/format/evidence.ts'
import {
  certifyQualifyingData,
  identityDocumentAudience,
  quoteQualifyingData,
} from '../../src/format/evidence-nonce.ts'
import { parseAttest, type TpmAttest } from '../../src/format/tpm-attest.ts'
import { nameOf, qualifiedNameOf } from '../../src/format/tpm-name.ts'
import { ATTRIBUTE } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { CHECKS, type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { type Forgery, forge, signTpm, softwareAk } from '../harness/attacker.ts'
import {
  AK_EXTENSIONS,
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  makeAuthority,
  makeCertificate,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import {
  bytesOf,
  genuineCase,
  INSTANCE_ID,
  refusalOf,
  refusals,
  signed,
  type VerifyCase,
} from '../harness/verify-case.ts'

/**
 * One vector for each check, altered in one thing only: every check is asked by itself, and none
 * but the one named may refuse. Numbers are of reference/tpm.md 9.
 */

interface Altered {
  readonly evidence?: Evidence
  readonly options?: Partial<VerifyOptions>
}

interface Vector {
  readonly title: string
  readonly check: string
  readonly code: string
  /** Checks that cannot hold where this one does not. */
  readonly also?: readonly string[]
  readonly alter: (it: VerifyCase) => Altered | Promise<Altered>
}

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
  it = await genuineCase(tpm)
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const vector = (title: string, check: string, code: string, alter: Vector['alter']): Vector => ({
  title,
  check,
  code,
  alter,
})

const forged =
  (forgery: (genuine: TpmAttest, it: VerifyCase) => Forgery) =>
  (subject: VerifyCase): Altered => {
    const genuine = parseAttest(subject.evidence.quote.attest)
    return { evidence: forge(subject.evidence, forgery(genuine, subject)) }
  }

const flipLast = (bytes: Buffer): Buffer => {
  const flipped = Buffer.from(bytes)
  flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1)
  return flipped
}

const withEk = (evidence: Evidence, certificates: readonly Buffer[]): Evidence => ({
  ...evidence,
  ek: { ...evidence.ek, certificates },
})

const withPkcs7 = (evidence: Evidence, pkcs7: Buffer): Evidence => ({
  ...evidence,
  identityDocument: { pkcs7 },
})

const identity: Vector[] = [
  vector('a foreign nonce in the document', 'nonce', 'VERIFY_NONCE', ({ evidence }) => ({
    evidence: { ...evidence, nonce: randomBytes(32) },
  })),
  vector(
    'evidence of another instance than expected',
    'expected instance',
    'VERIFY_INSTANCE_ID',
    () => ({ options: { expectedInstanceId: 'i-another000000000000' } }),
  ),
]

const keys: Vector[] = [
  vector('an EK with userWithAuth set', 'EK public area', 'VERIFY_EK_PUBLIC', ({ evidence }) => {
    const altered = Buffer.from(evidence.ek.public)
    altered.writeUInt32BE(altered.readUInt32BE(4) | ATTRIBUTE.userWithAuth, 4)
    return { evidence: { ...evidence, ek: { ...evidence.ek, public: altered } } }
  }),
  vector(
    '17: an AK that is not restricted',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.restricted),
  ),
  vector(
    '17: an AK that also decrypts',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits | ATTRIBUTE.decrypt),
  ),
  vector(
    '17: an AK made outside of a TPM (fixedTPM clear)',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.fixedTPM),
  ),
  vector(
    '20: an AK with sensitiveDataOrigin clear',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.sensitiveDataOrigin),
  ),
  vector(
    'an AK with a bit that no specification names',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits | 0x8000_0000),
  ),
  vector('an AK with a policy', 'AK public area', 'VERIFY_AK_PUBLIC', ({ evidence }) => {
    const policy = Buffer.concat([
      AK_TEMPLATE.subarray(0, 8),
      sized(ZERO),
      AK_TEMPLATE.subarray(10),
    ])
    return { evidence: forge(evidence, { akPublic: (key) => softwareAk(key, policy) }) }
  }),
  vector('an activation of another AK', 'activation', 'VERIFY_ACTIVATION', ({ evidence }) => ({
    options: { activation: { ekName: nameOf(evidence.ek.public), akName: randomBytes(34) } },
  })),
  vector('an activation in another TPM', 'activation', 'VERIFY_ACTIVATION', ({ evidence }) => ({
    options: { activation: { ekName: randomBytes(34), akName: nameOf(evidence.ak.public) } },
  })),
  vector('no activation where one is demanded', 'activation', 'VERIFY_ACTIVATION', () => ({
    options: { demandActivation: true },
  })),
]

/** The software AK with other attributes; SHA-1 aside, nothing else is wrong with what it signs. */
function attributes(change: (bits: number) => number): Vector['alter'] {
  return forged(() => ({
    akPublic: (key) => {
      const template = Buffer.from(AK_TEMPLATE)
      template.writeUInt32BE(change(template.readUInt32BE(4)) >>> 0, 4)
      return softwareAk(key, template)
    },
  }))
}

/** A chain of authorities above the EK certificate, each with its own faults. */
const endorsement: Vector[] = [
  vector('no certificate and no pin', 'endorsement', 'VERIFY_UNANCHORED', ({ evidence }) => ({
    evidence: withEk(evidence, []),
    options: { ekInstance: 'ignore' },
  })),
  vector('no anchors', 'endorsement', 'VERIFY_UNANCHORED', ({ options }) => ({
    options: {
      trust: { identityCertificate: options.trust.identityCertificate ?? Buffer.alloc(0) },
      ekInstance: 'ignore',
    },
  })),
  vector(
    '16: EK certificate of another TPM',
    'endorsement',
    'VERIFY_CERTIFICATE_KEY',
    ({ evidence, authority }) => ({
      evidence: withEk(evidence, [makeEkCertificate(authority, spkiOf(newKey()))]),
      options: { ekInstance: 'ignore' },
    }),
  ),
  ekCertificate('an EK certificate of version 1', 'VERIFY_CERTIFICATE_PROFILE', { version: 1 }),
  ekCertificate('an EK certificate that is an authority', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: [...EK_EXTENSIONS.slice(1), ext.basicConstraints(true)],
  }),
  ekCertificate('an EK certificate without keyAgreement', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) => (each.oid === '2.5.29.15' ? ext.keyUsage(0) : each)),
  }),
  ekCertificate('an EK certificate for something else', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.37' ? ext.extKeyUsage('1.3.6.1.5.5.7.3.1') : each,
    ),
  }),
  ekCertificate('an EK certificate that names no TPM', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.17' ? ext.tpmName(['2.23.133.2.1']) : each,
    ),
  }),
  ekCertificate('an empty subject with a name that is not critical', 'VERIFY_CERTIFICATE_PROFILE', {
    subject: '',
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.17' ? ext.tpmName(undefined, false) : each,
    ),
  }),
  ekCertificate('an EK certificate without authorityKeyIdentifier', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.filter((each) => each.oid !== '2.5.29.35'),
  }),
  vector('37: wrong root', 'endorsement', 'VERIFY_CERTIFICATE_ISSUER', ({ options }) => ({
    options: {
      trust: { ...options.trust, ekAnchors: [makeAuthority('Another Authority').der] },
      ekInstance: 'ignore',
    },
  })),
  vector(
    '37: wrong root of the same name',
    'endorsement',
    'VERIFY_CERTIFICATE_SIGNATURE',
    ({ options, authority }) => ({
      options: {
        trust: { ...options.trust, ekAnchors: [makeAuthority(authority.name).der] },
        ekInstance: 'ignore',
      },
    }),
  ),
  ekCertificate('37: expired', 'VERIFY_CERTIFICATE_TIME', {
    notAfter: new Date('2026-11-23T11:59:59Z'),
  }),
  ekCertificate('37: not yet valid', 'VERIFY_CERTIFICATE_TIME', {
    notBefore: new Date('2026-11-23T12:00:01Z'),
  }),
  ekCertificate('37: signed with SHA-1', 'VERIFY_CERTIFICATE_ALGORITHM', { hash: 'sha1' }),
  ekCertificate('37: unknown critical extension', 'VERIFY_CERTIFICATE_EXTENSION', {
    extensions: [...EK_EXTENSIONS, ext.unknown(true)],
  }),
  authority('37: an authority with an unknown critical extension', 'VERIFY_CERTIFICATE_EXTENSION', {
    extensions: [...CA_EXTENSIONS, ext.unknown(true)],
  }),
  authority('37: name constraints, though not critical', 'VERIFY_CERTIFICATE_EXTENSION', {
    extensions: [...CA_EXTENSIONS, { oid: '2.5.29.30', value: Buffer.from('3000', 'hex') }],
  }),
  authority('37: an issuer that is no authority', 'VERIFY_CERTIFICATE_CA', {
    extensions: [ext.basicConstraints(false), ext.keyUsage(5)],
  }),
  authority('37: an issuer without basic constraints', 'VERIFY_CERTIFICATE_CA', {
    extensions: [ext.keyUsage(5)],
  }),
  authority('37: an issuer without keyCertSign', 'VERIFY_CERTIFICATE_KEY_USAGE', {
    extensions: [ext.basicConstraints(true), ext.keyUsage(6)],
  }),
  authority('37: an expired issuer', 'VERIFY_CERTIFICATE_TIME', {
    notAfter: new Date('2026-01-01'),
  }),
  authority('37: an issuer signed with SHA-1', 'VERIFY_CERTIFICATE_ALGORITHM', { hash: 'sha1' }),
  vector('37: path length', 'endorsement', 'VERIFY_CERTIFICATE_PATH_LENGTH', (subject) => {
    const root = makeAuthority('Root', {
      extensions: [ext.basicConstraints(true, 0), ext.keyUsage(5)],
    })
    const between = makeAuthority('Between', {}, root)
    return chained(subject, [makeEkCertificate(between, subject.ekSpki), between.der], [root.der])
  }),
  vector('a path of five', 'endorsement', 'VERIFY_CERTIFICATE_ISSUER', (subject) => {
    const root = makeAuthority('Root')
    const one = makeAuthority('One', {}, root)
    const two = makeAuthority('Two', {}, one)
    const three = makeAuthority('Three', {}, two)
    const between = [three, two, one].map(({ der }) => der)
    return chained(subject, [makeEkCertificate(three, subject.ekSpki), ...between], [root.der])
  }),
  vector('bytes after the certificate', 'endorsement', 'VERIFY_CERTIFICATE', ({ evidence }) => ({
    evidence: withEk(
      evidence,
      evidence.ek.certificates.map((der) => Buffer.concat([der, Uint8Array.of(0)])),
    ),
    options: { ekInstance: 'ignore' },
  })),
  vector(
    'an altered certificate',
    'endorsement',
    'VERIFY_CERTIFICATE_SIGNATURE',
    ({ evidence }) => ({
      evidence: withEk(
        evidence,
        evidence.ek.certificates.map((der) => flipLast(der)),
      ),
      options: { ekInstance: 'ignore' },
    }),
  ),
  vector(
    'AK certificate for something else',
    'endorsement',
    'VERIFY_CERTIFICATE_PROFILE',
    (subject) =>
      akCertificate(
        subject,
        AK_EXTENSIONS.map((each) =>
          each.oid === '2.5.29.37' ? ext.extKeyUsage('2.23.133.8.1') : each,
        ),
      ),
  ),
  vector(
    '40: EK certificate names another instance',
    'EK certificate: instance',
    'VERIFY_EK_INSTANCE',
    ({ evidence, authority, ekSpki }) => ({
      evidence: withEk(evidence, [
        makeEkCertificate(authority, ekSpki, { subject: 'i-bp0000000000000another' }),
      ]),
    }),
  ),
  vector(
    '40: EK certificate names nothing, where the instance is required',
    'EK certificate: instance',
    'VERIFY_EK_INSTANCE',
    ({ evidence, authority, ekSpki }) => ({
      evidence: withEk(evidence, [makeEkCertificate(authority, ekSpki)]),
      options: { ekInstance: 'require' },
    }),
  ),
]

function chained(
  { options, evidence }: VerifyCase,
  certificates: readonly Buffer[],
  ekAnchors: readonly Buffer[],
): Altered {
  return {
    evidence: withEk(evidence, certificates),
    options: { trust: { ...options.trust, ekAnchors }, ekInstance: 'ignore' },
  }
}

function ekCertificate(
  title: string,
  code: string,
  fields: Parameters<typeof makeEkCertificate>[2],
): Vector {
  return vector(title, 'endorsement', code, ({ evidence, authority, ekSpki }) => ({
    evidence: withEk(evidence, [
      makeEkCertificate(authority, ekSpki, { subject: INSTANCE_ID, ...fields }),
    ]),
    options: { ekInstance: 'ignore' },
  }))
}

function authority(
  title: string,
  code: string,
  fields: Parameters<typeof makeAuthority>[1],
): Vector {
  return vector(title, 'endorsement', code, (subject) => {
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', fields, root)
    return chained(subject, [makeEkCertificate(between, subject.ekSpki), between.der], [root.der])
  })
}

function akCertificate(
  { evidence, options, authority: issuer }: VerifyCase,
  extensions: typeof AK_EXTENSIONS,
): Altered {
  const key = newKey()
  const certificate = makeCertificate({
    subject: 'AK',
    issuer: issuer.name,
    publicKey: spkiOf(key),
    signer: issuer.key,
    extensions,
  })
  const forgedEvidence = forge(evidence, { key })
  const ak = { ...forgedEvidence.ak, certificates: [certificate] }
  const { identityCertificate = Buffer.alloc(0) } = options.trust
  const trust = { akAnchors: [issuer.der], identityCertificate }
  return { evidence: { ...forgedEvidence, ak }, options: { trust, ekInstance: 'ignore' } }
}

const OTHER = Buffer.alloc(32, 7)

/** Checks that quotes and certifications share. */
function attested(of: 'quote' | CertifiedKey): Vector[] {
  const name = of === 'quote' ? 'quote' : `certification of ${of}`
  const otherType = of === 'quote' ? 'certify' : 'quote'
  return [
    vector(
      'SHA-1 in the signature',
      `${name}: algorithm`,
      'VERIFY_SIGNATURE_ALGORITHM',
      forged((genuine) => ({
        sha1: [of],
        ...(of === 'quote' && genuine.body.type === 'quote'
          ? { quote: { body: { ...genuine.body, pcrDigest: sha1Of(ZERO, ZERO, ZERO, ZERO) } } }
          : {}),
      })),
    ),
    vector('an altered signature', `${name}: signature`, 'VERIFY_SIGNATURE', ({ evidence }) => ({
      evidence: withSignature(evidence, of, flipLast),
    })),
    vector('21: another signer', `${name}: signature`, 'VERIFY_SIGNATURE', ({ evidence }) => ({
      evidence: withSignature(evidence, of, () => signTpm(newKey(), attestOf(evidence, of))),
    })),
    vector(
      '21: another magic (CVE-2024-29038)',
      `${name}: magic`,
      'VERIFY_MAGIC',
      forged(() => ({ [of]: { magic: 0xff544346 } })),
    ),
    vector(
      '21: a time stamp (GHSA-gwfg-w3jr-xh66)',
      `${name}: type`,
      'VERIFY_TYPE',
      forged(() => ({ [of]: { body: { type: 'other', tag: 0x8019 } } })),
    ),
    vector(
      '21: a creation',
      `${name}: type`,
      'VERIFY_TYPE',
      forged(() => ({ [of]: { body: { type: 'other', tag: 0x801a } } })),
    ),
    vector(
      `21: a ${otherType}`,
      `${name}: type`,
      'VERIFY_TYPE',
      forged((quote, { evidence }) => ({
        [of]: {
          body: of === 'quote' ? parseAttest(evidence.certifications.RK.attest).body : quote.body,
        },
      })),
    ),
    vector(
      'a foreign nonce',
      `${name}: nonce`,
      'VERIFY_EXTRA_DATA',
      forged(() => ({ [of]: { extraData: quoteQualifyingData(OTHER) } })),
    ),
    vector(
      'no nonce',
      `${name}: nonce`,
      'VERIFY_EXTRA_DATA',
      forged(() => ({ [of]: { extraData: Buffer.alloc(0) } })),
    ),
    vector(
      "another use's nonce",
      `${name}: nonce`,
      'VERIFY_EXTRA_DATA',
      forged((_, { nonce }) => ({
        [of]: { extraData: certifyQualifyingData(of === 'SK' ? 'RK' : 'SK', nonce) },
      })),
    ),
    vector('19: an AK of the owner hierarchy', `${name}: signer`, 'VERIFY_SIGNER', (subject) =>
      ownerSigned(subject, of),
    ),
  ]
}

function ownerSigned({ evidence }: VerifyCase, of: 'quote' | CertifiedKey): Altered {
  const key = newKey()
  const qualifiedSigner = qualifiedNameOf('owner', nameOf(softwareAk(key)))
  return { evidence: forge(evidence, { key, [of]: { qualifiedSigner } }) }
}

function attestOf(evidence: Evidence, of: 'quote' | CertifiedKey): Buffer {
  return of === 'quote' ? evidence.quote.attest : evidence.certifications[of].attest
}

function withSignature(
  evidence: Evidence,
  of: 'quote' | CertifiedKey,
  change: (signature: Buffer) => Buffer,
): Evidence {
  if (of === 'quote')
    return {
      ...evidence,
      quote: { ...evidence.quote, signature: change(Buffer.from(evidence.quote.signature)) },
    }
  const part = evidence.certifications[of]
  const changed = { ...part, signature: change(Buffer.from(part.signature)) }
  return { ...evidence, certifications: { ...evidence.certifications, [of]: changed } }
}

const ZERO = Buffer.alloc(32)
const sha1Of = (...values: Buffer[]) => createHash('sha1').update(Buffer.concat(values)).digest()
const digestOf = (...values: Buffer[]) =>
  createHash('sha256').update(Buffer.concat(values)).digest()

const quote: Vector[] = [
  vector(
    'a partial selection (CVE-2022-0317)',
    'quote: selection',
    'VERIFY_PCR_SELECTION',
    ({ evidence }) => ({
      evidence: { ...evidence, pcrs: { sha256: { ...evidence.pcrs.sha256, '8': ZERO } } },
    }),
  ),
  {
    ...vector(
      'a selection of other PCRs than are shown (CVE-2024-29039)',
      'quote: selection',
      'VERIFY_PCR_SELECTION',
      forged(() => ({
        quote: {
          body: {
            type: 'quote',
            selection: [{ hash: 'sha256', pcrs: [0, 1, 2, 3] }],
            pcrDigest: digestOf(ZERO, ZERO, ZERO, ZERO),
          },
        },
      })),
    ),
    also: ['VERIFY_PCR_DIGEST'],
  },
  vector('23: an empty selection', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) =>
    emptied(subject, []),
  ),
  vector('23: a bank without PCRs', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) =>
    emptied(subject, [{ hash: 'sha256', pcrs: [] }]),
  ),
  vector('24: another bank added', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) => {
    const pcrs = { ...subject.evidence.pcrs, sha384: { '0': Buffer.alloc(48) } }
    const selection = [
      { hash: 'sha256', pcrs: [0, 1, 2, 7] },
      { hash: 'sha384', pcrs: [0] },
    ] as const
    const pcrDigest = digestOf(ZERO, ZERO, ZERO, ZERO, Buffer.alloc(48))
    const evidence = forge(subject.evidence, {
      quote: { body: { type: 'quote', selection: [...selection], pcrDigest } },
    })
    return { evidence: { ...evidence, pcrs } }
  }),
  vector(
    'a bank of SHA-1',
    'quote: selection',
    'VERIFY_PCR_SELECTION',
    async ({ evidence, nonce }) => {
      const sha1 = await gatherEvidence(tpm, {
        nonce,
        certificates: [...evidence.ek.certificates],
        bank: 'sha1',
        ...(evidence.identityDocument ?? {}),
      })
      return { evidence: sha1 }
    },
  ),
  vector(
    'a value that was not quoted',
    'quote: PCR values',
    'VERIFY_PCR_DIGEST',
    ({ evidence }) => ({
      evidence: {
        ...evidence,
        pcrs: { sha256: { ...evidence.pcrs.sha256, '7': Buffer.alloc(32, 1) } },
      },
    }),
  ),
  vector('a value of another length', 'quote: PCR values', 'VERIFY_PCR_DIGEST', ({ evidence }) => ({
    evidence: { ...evidence, pcrs: { sha256: { ...evidence.pcrs.sha256, '7': Buffer.alloc(48) } } },
  })),
]

function emptied(
  { evidence }: VerifyCase,
  selection: { hash: 'sha256'; pcrs: number[] }[],
): Altered {
  const body = { type: 'quote', selection, pcrDigest: digestOf() } as const
  const pcrs = selection.length === 0 ? {} : { sha256: {} }
  return { evidence: { ...forge(evidence, { quote: { body } }), pcrs } }
}

function certification(of: CertifiedKey): Vector[] {
  const name = `certification of ${of}`
  return [
    vector(
      '20: sensitiveDataOrigin clear',
      `${name}: public area`,
      'VERIFY_KEY_PUBLIC',
      (subject) => otherKey(subject, of, (bits) => bits & ~ATTRIBUTE.sensitiveDataOrigin),
    ),
    vector(
      'a software key (fixedTPM clear)',
      `${name}: public area`,
      'VERIFY_KEY_PUBLIC',
      (subject) => otherKey(subject, of, (bits) => bits & ~ATTRIBUTE.fixedTPM),
    ),
    vector("another key's certification", `${name}: name`, 'VERIFY_NAME', ({ evidence }) => {
      const { body } = parseAttest(evidence.certifications[of].attest)
      if (body.type !== 'certify') throw new Error('no certification')
      return { evidence: forge(evidence, { [of]: { body: { ...body, name: randomBytes(34) } } }) }
    }),
    vector(
      '19: a key of the owner hierarchy',
      `${name}: hierarchy`,
      'VERIFY_HIERARCHY',
      async ({ evidence, nonce }) => ({
        evidence: await gatherEvidence(tpm, {
          nonce,
          certificates: [...evidence.ek.certificates],
          ...(evidence.identityDocument ?? {}),
          keyHierarchies: { [of]: 'owner' },
        }),
      }),
    ),
    vector(
      `19: a key of the ${of === 'BK' ? 'endorsement' : 'null'} hierarchy`,
      `${name}: hierarchy`,
      'VERIFY_HIERARCHY',
      async ({ evidence, nonce }) => ({
        evidence: await gatherEvidence(tpm, {
          nonce,
          certificates: [...evidence.ek.certificates],
          ...(evidence.identityDocument ?? {}),
          keyHierarchies: { [of]: of === 'BK' ? 'endorsement' : 'null' },
        }),
      }),
    ),
    vector(
      'a hierarchy that is only said',
      `${name}: hierarchy`,
      'VERIFY_HIERARCHY',
      ({ evidence }) => ({
        evidence: {
          ...evidence,
          certifications: {
            ...evidence.certifications,
            [of]: { ...evidence.certifications[of], hierarchy: 'platform' },
          },
        },
      }),
    ),
  ]
}

/** A key whose attributes are not the template's, rightly certified by a software AK. */
function otherKey(
  { evidence }: VerifyCase,
  of: CertifiedKey,
  change: (bits: number) => number,
): Altered {
  const altered = Buffer.from(evidence.certifications[of].public)
  altered.writeUInt32BE(change(altered.readUInt32BE(4)) >>> 0, 4)
  const name = nameOf(altered)
  const qualifiedName = qualifiedNameOf(of === 'BK' ? 'null' : 'endorsement', name)
  const evidence2 = forge(evidence, { [of]: { body: { type: 'certify', name, qualifiedName } } })
  return {
    evidence: {
      ...evidence2,
      certifications: {
        ...evidence2.certifications,
        [of]: { ...evidence2.certifications[of], public: altered },
      },
    },
  }
}

const state: Vector[] = [
  vector(
    '30: parts from two runs of the TPM',
    'clock',
    'VERIFY_CLOCK',
    forged(({ clock }) => ({ BK: { clock: { ...clock, resetCount: clock.resetCount + 1 } } })),
  ),
  ...(
    [
      ['30: a reset count that went back', { resetCount: 1 }],
      ['a restart count that went back', { restartCount: 1 }],
      ['a clock that went back within a run', { clockMs: 1 }],
      ['a replay: a clock that stands', { clockMs: 0 }],
    ] as const
  ).map(([title, ahead]) =>
    vector(title, 'clock', 'VERIFY_CLOCK', ({ evidence }) => {
      const { clockMs, resetCount, restartCount } = parseAttest(evidence.quote.attest).clock
      const last = {
        akName: nameOf(evidence.ak.public).toString('hex'),
        clockMs: Number(clockMs),
        resetCount,
        restartCount,
      }
      const added = Object.entries(ahead).map(([field, by]) => [
        field,
        last[field as keyof typeof ahead & keyof typeof last] + by,
      ])
      return { options: { lastClock: { ...last, ...Object.fromEntries(added) } } }
    }),
  ),
  vector('a PCR value that the policy does not have', 'PCR policy', 'VERIFY_PCR_POLICY', () => ({
    options: { pcrPolicy: policy({ '7': 'ff'.repeat(32) }) },
  })),
  vector('none of the values that the policy allows', 'PCR policy', 'VERIFY_PCR_POLICY', () => ({
    options: { pcrPolicy: policy({ '7': ['ff'.repeat(32), 'ee'.repeat(32)] }) },
  })),
  vector(
    'fewer PCRs than the policy demands (CVE-2022-0317)',
    'PCR policy',
    'VERIFY_PCR_POLICY',
    () => ({ options: { pcrPolicy: policy({ '7': '00'.repeat(32), '14': '00'.repeat(32) }) } }),
  ),
  vector('an event log that is none', 'event log', 'VERIFY_EVENT_LOG', ({ evidence }) => ({
    evidence: { ...evidence, eventLog: Buffer.from('no log') },
  })),
]

function policy(sha256: Record<string, string | string[]>): Buffer {
  return Buffer.from(
    JSON.stringify({ format: 'metabind pcr policy', version: 1, pcrs: { sha256 } }),
  )
}

const document: Vector[] = [
  vector(
    'no identity document where one is demanded',
    'identity document: there',
    'VERIFY_DOCUMENT_ABSENT',
    ({ evidence }) => {
      const { identityDocument: _, ...rest } = evidence
      return { evidence: rest }
    },
  ),
  vector(
    'an altered signature',
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    ({ evidence }) => ({
      evidence: withPkcs7(evidence, flipLast(evidence.identityDocument?.pkcs7 ?? Buffer.alloc(1))),
    }),
  ),
  vector(
    "the vendor's key did not sign it",
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    ({ options }) => ({
      options: { trust: { ekAnchors: options.trust.ekAnchors ?? [] } },
    }),
  ),
  ...[
    ['bytes that are no SignedData', () => Buffer.from('no pkcs7')],
    [
      'a SignedData with bytes behind',
      (it: VerifyCase) => Buffer.concat([signed(it.signer, it.nonce), ZERO]),
    ],
  ].map(([title, make]) =>
    vector(String(title), 'identity document: signature', 'VERIFY_DOCUMENT', (it) => ({
      evidence: withPkcs7(it.evidence, typeof make === 'function' ? make(it) : ZERO),
    })),
  ),
  vector(
    'a second instance-id, smuggled in with the audience',
    'identity document: audience',
    'VERIFY_DOCUMENT',
    ({ evidence, signer, nonce }) => {
      const audience = identityDocumentAudience(nonce)
      const text = `{"instance-id":"i-another","audience":"${audience}","instance-id":"${INSTANCE_ID}"}`
      return { evidence: withPkcs7(evidence, Buffer.from(signer.signPkcs7(text), 'base64')) }
    },
  ),
  vector(
    'another audience',
    'identity document: audience',
    'VERIFY_DOCUMENT_AUDIENCE',
    ({ evidence, signer }) => ({ evidence: withPkcs7(evidence, signed(signer, randomBytes(32))) }),
  ),
  vector(
    'no audience',
    'identity document: audience',
    'VERIFY_DOCUMENT_AUDIENCE',
    ({ evidence, signer }) => ({
      evidence: withPkcs7(
        evidence,
        Buffer.from(signer.signPkcs7(JSON.stringify({ 'instance-id': INSTANCE_ID })), 'base64'),
      ),
    }),
  ),
  vector(
    'another instance',
    'identity document: instance',
    'VERIFY_DOCUMENT_INSTANCE',
    ({ evidence, signer, nonce }) => ({
      evidence: withPkcs7(
        evidence,
        signed(signer, nonce, { 'instance-id': 'i-another000000000000' }),
      ),
    }),
  ),
]

const VECTORS: readonly Vector[] = [
  ...identity,
  ...keys,
  ...endorsement,
  ...attested('quote'),
  ...quote,
  ...CERTIFIED_KEYS.flatMap((of) => [...attested(of), ...certification(of)]),
  ...state,
  ...document,
]

describe('refused by one check alone', () => {
  test.each(VECTORS)('$check: $title', async ({ check, code, alter, also = [] }) => {
    const { evidence = it.evidence, options } = await alter(it)
    const asked = { ...it.options, ...options }
    const found = refusals(evidence, asked)
    expect([...new Set(found.map((refusal) => refusal.code))]).toEqual([code, ...also])
    expect(refusalOf(() => verifyEvidence(bytesOf(evidence), asked))).toEqual({ code, check })
  })

  test('every check has a vector, and every one of its codes', () => {
    const provoked = new Set(VECTORS.map(({ check, code }) => `${check} ${code}`))
    const missing = CHECKS.flatMap(({ name, codes }) =>
      codes.map((code) => `${name} ${code}`),
    ).filter((wanted) => !provoked.has(wanted))
    expect(missing).toEqual([])
  })
})

describe('accepted', () => {
  test('the genuine evidence', () => {
    const verified = verifyEvidence(bytesOf(it.evidence), it.options)
    expect(verified).toMatchObject({
      instanceId: INSTANCE_ID,
      anchor: { kind: 'ek-certificate' },
      proven: ['ek-genuine', 'instance-from-cloud', 'instance-from-ek'],
      notProven: ['ak-in-tpm', 'pcr-policy', 'event-log', 'clock'],
    })
  })

  test('a software AK next to a genuine EK, which is why ak-in-tpm is not proven', () => {
    const evidence = forge(it.evidence)
    expect(verifyEvidence(bytesOf(evidence), it.options).notProven).toContain('ak-in-tpm')
    expect(
      refusalOf(() => verifyEvidence(bytesOf(evidence), { ...it.options, demandActivation: true }))
        .code,
    ).toBe('VERIFY_ACTIVATION')
  })

  test('a pinned EK without a certificate', () => {
    const ekPins = [createHash('sha256').update(it.ekSpki).digest('hex')]
    const { identityCertificate = Buffer.alloc(0) } = it.options.trust
    const options = { ...it.options, trust: { ekPins, identityCertificate } }
    expect(verifyEvidence(bytesOf(withEk(it.evidence, [])), options).anchor).toEqual({
      kind: 'ek-pin',
      spkiSha256: ekPins[0],
    })
  })
})
