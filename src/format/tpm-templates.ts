import { createHash } from 'node:crypto'
import type { EkKind } from './algorithms.ts'
import type { CertifiedKey } from './evidence.ts'

/**
 * The public areas (TPMT_PUBLIC, TPM 2.0 Library Part 2, 12.2.4) that this agent's primary keys are
 * made from, as wire bytes. A primary is derived from its hierarchy's seed and the whole template:
 * one bit changed here is another key, and another identity, on every instance.
 */

// TPMA_OBJECT bits, Part 2, 8.3.
const FIXED_TPM = 0x2
const FIXED_PARENT = 0x10
const SENSITIVE_DATA_ORIGIN = 0x20
const USER_WITH_AUTH = 0x40
// No dictionary-attack protection: a lockout caused by somebody else must not stop the agent.
const NO_DA = 0x400
const RESTRICTED = 0x10000
const SIGN = 0x40000

const OWN = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA

// PolicySecret(TPM_RH_ENDORSEMENT), EK credential profile 2.5, annex B.
const POLICY_A_SHA256 = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa'
const POLICY_B_SHA384 =
  'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12'

/** A kind of endorsement key, with its NV indices (EK credential profile 2.5, 2.2). */
export interface EkTemplate {
  readonly kind: EkKind
  readonly certificateIndex: number
  /** Where a template stands that replaces this one. */
  readonly templateIndex: number
  /** Where the beginning of `unique` may stand, and where in `publicArea` that is. */
  readonly nonce?: { readonly index: number; readonly offset: number; readonly bytesMax: number }
  readonly publicArea: Buffer
}

/**
 * The default EK templates in order of preference: elliptic curves first, RSA if there is no other. What was
 * added later stands last, or the EK of an instance would change with the agent's version.
 */
export const EK_TEMPLATES: readonly EkTemplate[] = [
  {
    kind: 'P-256',
    certificateIndex: 0x01c0000a,
    templateIndex: 0x01c0000c,
    // Behind type, nameAlg, attributes, policy, parameters and the size of x.
    nonce: { index: 0x01c0000b, offset: 56, bytesMax: 32 },
    // Template L-2.
    publicArea: bytes(
      '0023 000b 000300b2 0020',
      POLICY_A_SHA256,
      '0006 0080 0043 0010 0003 0010',
      `0020 ${'00'.repeat(32)} 0020 ${'00'.repeat(32)}`,
    ),
  },
  {
    kind: 'P-384',
    certificateIndex: 0x01c00016,
    templateIndex: 0x01c00017,
    // Template H-3.
    publicArea: bytes(
      '0023 000c 000300f2 0030',
      POLICY_B_SHA384,
      '0006 0100 0043 0010 0004 0010 0000 0000',
    ),
  },
  {
    kind: 'RSA-2048',
    certificateIndex: 0x01c00002,
    templateIndex: 0x01c00004,
    nonce: { index: 0x01c00003, offset: 58, bytesMax: 256 },
    // Template L-1.
    publicArea: bytes(
      '0001 000b 000300b2 0020',
      POLICY_A_SHA256,
      '0006 0080 0043 0010 0800 00000000',
      `0100 ${'00'.repeat(256)}`,
    ),
  },
  {
    kind: 'RSA-3072',
    certificateIndex: 0x01c0001c,
    templateIndex: 0x01c0001d,
    // Template H-6.
    publicArea: bytes(
      '0001 000c 000300f2 0030',
      POLICY_B_SHA384,
      '0006 0100 0043 0010 0c00 00000000 0000',
    ),
  },
]

/** Whether an EK is of the high range: it has userWithAuth set, and takes its empty password. */
export function isHighRange(kind: EkKind): boolean {
  return kind === 'P-384' || kind === 'RSA-3072'
}

/** Attestation key: restricted, so that it signs only what the TPM itself says. */
export const AK_TEMPLATE = signingKey(OWN | RESTRICTED | SIGN, 'metabind ak v1')

/** Signing key of identity tokens: unrestricted, signs any digest. */
export const SK_TEMPLATE = signingKey(OWN | SIGN, 'metabind sk v1')

/**
 * Root of token keys, in the endorsement hierarchy: the same for the life of this TPM's identity.
 * TPM2_Clear ends that: it leaves the key, but changes its Name (test/flow/lifetimes.test.ts).
 */
export const RK_TEMPLATE = hmacKey('metabind rk v1')

/** Root of token keys for one boot, in the null hierarchy: another after every TPM reset. */
export const BK_TEMPLATE = hmacKey('metabind bk v1')

/** What a primary key is derived from: the seed of a hierarchy, and a public area. */
export interface Primary {
  readonly hierarchy: 'endorsement' | 'null'
  readonly template: Buffer
}

/** The agent's own primaries. BK ends with the TPM's run: the seed of the null hierarchy does. */
export const PRIMARIES: Readonly<Record<'AK' | CertifiedKey, Primary>> = {
  AK: { hierarchy: 'endorsement', template: AK_TEMPLATE },
  SK: { hierarchy: 'endorsement', template: SK_TEMPLATE },
  RK: { hierarchy: 'endorsement', template: RK_TEMPLATE },
  BK: { hierarchy: 'null', template: BK_TEMPLATE },
}

/** ECC P-256, ECDSA with SHA-256, no policy. `label` keeps two keys of one shape apart. */
function signingKey(attributes: number, label: string): Buffer {
  const unique = createHash('sha256').update(label).digest('hex')
  return bytes(
    `0023 000b ${attributes.toString(16).padStart(8, '0')} 0000`,
    '0010 0018 000b 0003 0010',
    `0020 ${unique} 0000`,
  )
}

/** Keyed hash, HMAC with SHA-256, no policy. */
function hmacKey(label: string): Buffer {
  const unique = createHash('sha256').update(label).digest('hex')
  return bytes(
    `0008 000b ${(OWN | SIGN).toString(16).padStart(8, '0')} 0000`,
    `0005 000b 0020 ${unique}`,
  )
}

function bytes(...hex: string[]): Buffer {
  return Buffer.from(hex.join('').replaceAll(' ', ''), 'hex')
}
