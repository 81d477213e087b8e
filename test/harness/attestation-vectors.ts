import { randomBytes } from 'node:crypto'
import { sized } from '../../src/format/byte-reader.ts'
import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../../src/format/evidence.ts'
import { certifyQualifyingData, quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import { parseAttest } from '../../src/format/tpm-attest.ts'
import { nameOf, qualifiedNameOf } from '../../src/format/tpm-name.ts'
import type { TpmPcrSelection } from '../../src/format/tpm-pcr-selection.ts'
import { ATTRIBUTE, parsePublic } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { forge, signTpm, softwareAk } from './attacker.ts'
import { newKey } from './certificate.ts'
import { gatherEvidence } from './evidence.ts'
import {
  type Altered,
  digestOf,
  flipLast,
  forged,
  policy,
  sha1Of,
  type Vector,
  vector,
  ZERO,
} from './vector.ts'
import type { VerifyCase } from './verify-case.ts'

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
    {
      ...vector(
        'another algorithm than the key has',
        `${name}: algorithm`,
        'VERIFY_SIGNATURE_ALGORITHM',
        ({ evidence }) => ({
          evidence: withSignature(evidence, of, () =>
            Buffer.concat([Buffer.from('0014000b', 'hex'), sized(Buffer.alloc(256, 1))]),
          ),
        }),
      ),
      also: ['VERIFY_SIGNATURE'],
    },
    vector('r of 33 bytes', `${name}: signature`, 'VERIFY_SIGNATURE', ({ evidence }) => ({
      evidence: withSignature(evidence, of, (signature) =>
        Buffer.concat([
          signature.subarray(0, 4),
          sized(Buffer.concat([Uint8Array.of(0), signature.subarray(6, 38)])),
          signature.subarray(38),
        ]),
      ),
    })),
    vector('an altered signature', `${name}: signature`, 'VERIFY_SIGNATURE', ({ evidence }) => ({
      evidence: withSignature(evidence, of, flipLast),
    })),
    vector('another signer', `${name}: signature`, 'VERIFY_SIGNATURE', ({ evidence }) => ({
      evidence: withSignature(evidence, of, () => signTpm(newKey(), attestOf(evidence, of))),
    })),
    vector(
      'another magic (CVE-2024-29038)',
      `${name}: magic`,
      'VERIFY_MAGIC',
      forged(() => ({ [of]: { magic: 0xff544346 } })),
    ),
    vector(
      'a time stamp (GHSA-gwfg-w3jr-xh66)',
      `${name}: type`,
      'VERIFY_TYPE',
      forged(() => ({ [of]: { body: { type: 'other', tag: 0x8019 } } })),
    ),
    vector(
      'a creation',
      `${name}: type`,
      'VERIFY_TYPE',
      forged(() => ({ [of]: { body: { type: 'other', tag: 0x801a } } })),
    ),
    vector(
      `a ${otherType}`,
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
      forged(() => ({ [of]: { extraData: quoteQualifyingData({ nonce: OTHER }) } })),
    ),
    ...[0, 31].map((at) =>
      vector(
        `a nonce that differs in byte ${at}`,
        `${name}: nonce`,
        'VERIFY_EXTRA_DATA',
        forged((quote, { evidence }) => {
          const genuine = of === 'quote' ? quote : parseAttest(evidence.certifications[of].attest)
          const extraData = Buffer.from(genuine.extraData)
          extraData.writeUInt8(extraData.readUInt8(at) ^ 1, at)
          return { [of]: { extraData } }
        }),
      ),
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
        [of]: { extraData: certifyQualifyingData(of === 'SK' ? 'RK' : 'SK', { nonce }) },
      })),
    ),
    vector('an AK of the owner hierarchy', `${name}: signer`, 'VERIFY_SIGNER', (subject) =>
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

/** What the very AK signs for the right nonce, and is no quote: a genuine answer of a genuine TPM. */
function genuineButNoQuote(
  { tpm, evidence, nonce }: VerifyCase,
  command: 'certify' | 'getTime',
): Promise<Altered> {
  const qualifyingData = quoteQualifyingData({ nonce })
  return tpm.sequence(async (commands) => {
    const ak = await commands.createPrimary('endorsement', AK_TEMPLATE)
    const { attest, signature } =
      command === 'certify'
        ? await commands.certify(ak, ak, qualifyingData)
        : await commands.getTime(ak, qualifyingData)
    const quote = { attest: Buffer.from(attest), signature: Buffer.from(signature) }
    return { evidence: { ...evidence, quote } }
  })
}

const QUOTE: Vector[] = [
  vector(
    'a genuine TPM2_Certify of the AK (GHSA-gwfg-w3jr-xh66)',
    'quote: type',
    'VERIFY_TYPE',
    (it) => genuineButNoQuote(it, 'certify'),
  ),
  vector(
    'a genuine TPM2_GetTime of the AK (GHSA-gwfg-w3jr-xh66)',
    'quote: type',
    'VERIFY_TYPE',
    (it) => genuineButNoQuote(it, 'getTime'),
  ),
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
  vector('an empty selection', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) =>
    emptied(subject, []),
  ),
  vector('a bank without PCRs', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) =>
    emptied(subject, [{ hash: 'sha256', pcrs: [] }]),
  ),
  vector('another bank added', 'quote: selection', 'VERIFY_PCR_SELECTION', (subject) => ({
    evidence: withTwoBanks(subject),
  })),
  vector(
    'a bank that the policy does not name',
    'quote: selection',
    'VERIFY_PCR_SELECTION',
    (subject) => ({
      evidence: withTwoBanks(subject),
      options: { pcrPolicy: policy({ '7': '00'.repeat(32) }) },
    }),
  ),
  vector(
    'a bank of SHA-1',
    'quote: selection',
    'VERIFY_PCR_SELECTION',
    async ({ tpm, evidence, nonce }) => {
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
  vector(
    'values of other lengths that hash alike: 31 and 33 bytes for 32 and 32',
    'quote: PCR values',
    'VERIFY_PCR_DIGEST',
    ({ evidence }) => ({
      evidence: {
        ...evidence,
        pcrs: {
          sha256: { ...evidence.pcrs.sha256, '0': Buffer.alloc(31), '1': Buffer.alloc(33) },
        },
      },
    }),
  ),
]

function withTwoBanks({ evidence }: VerifyCase): Evidence {
  const pcrs = { ...evidence.pcrs, sha384: { '0': Buffer.alloc(48) } }
  const selection: TpmPcrSelection[] = [
    { hash: 'sha256', pcrs: [0, 1, 2, 7] },
    { hash: 'sha384', pcrs: [0] },
  ]
  const pcrDigest = digestOf(ZERO, ZERO, ZERO, ZERO, Buffer.alloc(48))
  const quote = { body: { type: 'quote', selection, pcrDigest } } as const
  return { ...forge(evidence, { quote }), pcrs }
}

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
    vector('sensitiveDataOrigin clear', `${name}: public area`, 'VERIFY_KEY_PUBLIC', (subject) =>
      otherKey(subject, of, (bits) => bits & ~ATTRIBUTE.sensitiveDataOrigin),
    ),
    vector(
      'a software key (fixedTPM clear)',
      `${name}: public area`,
      'VERIFY_KEY_PUBLIC',
      (subject) => otherKey(subject, of, (bits) => bits & ~ATTRIBUTE.fixedTPM),
    ),
    vector('no key: a public area without one', `${name}: public area`, 'VERIFY_KEY_PUBLIC', (it) =>
      alteredKey(it, of, (key) => {
        const none = Buffer.alloc(of === 'SK' ? 4 : 2)
        return Buffer.concat([key.subarray(0, parsePublic(key).uniqueOffset), none])
      }),
    ),
    vector("another key's certification", `${name}: name`, 'VERIFY_NAME', ({ evidence }) => {
      const { body } = parseAttest(evidence.certifications[of].attest)
      if (body.type !== 'certify') throw new Error('no certification')
      return { evidence: forge(evidence, { [of]: { body: { ...body, name: randomBytes(34) } } }) }
    }),
    vector(
      'a key of the owner hierarchy',
      `${name}: hierarchy`,
      'VERIFY_HIERARCHY',
      async ({ tpm, evidence, nonce }) => ({
        evidence: await gatherEvidence(tpm, {
          nonce,
          certificates: [...evidence.ek.certificates],
          ...(evidence.identityDocument ?? {}),
          keyHierarchies: { [of]: 'owner' },
        }),
      }),
    ),
    vector(
      `a key of the ${of === 'BK' ? 'endorsement' : 'null'} hierarchy`,
      `${name}: hierarchy`,
      'VERIFY_HIERARCHY',
      async ({ tpm, evidence, nonce }) => ({
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

/** A key whose attributes are not the template's. */
function otherKey(it: VerifyCase, of: CertifiedKey, change: (bits: number) => number): Altered {
  return alteredKey(it, of, (key) => {
    key.writeUInt32BE(change(key.readUInt32BE(4)) >>> 0, 4)
    return key
  })
}

/** A key whose public area is not what it should be, rightly certified by a software AK. */
function alteredKey(
  { evidence }: VerifyCase,
  of: CertifiedKey,
  alter: (publicArea: Buffer) => Buffer,
): Altered {
  const altered = alter(Buffer.from(evidence.certifications[of].public))
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

export const ATTESTATION_VECTORS: readonly Vector[] = [
  ...attested('quote'),
  ...QUOTE,
  ...CERTIFIED_KEYS.flatMap((of) => [...attested(of), ...certification(of)]),
]
