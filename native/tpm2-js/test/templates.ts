import { createHash } from 'node:crypto'

/** TPMT_PUBLIC templates in wire form (Part 2, 12.2.4). */

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))

/** PolicySecret(TPM_RH_ENDORSEMENT), the policy of the low-range EK templates (EK profile, B.3). */
export const POLICY_A = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa'
const ZERO_32 = '00'.repeat(32)

/** EK P-256, template L-2. */
export const EK = hex(
  `0023 000B 000300B2 0020 ${POLICY_A} 0006 0080 0043 0010 0003 0010 0020 ${ZERO_32} 0020 ${ZERO_32}`,
)
/** EK RSA-2048, template L-1. */
export const EK_RSA = hex(
  `0001 000B 000300B2 0020 ${POLICY_A} 0006 0080 0043 0010 0800 00000000 0100 ${'00'.repeat(256)}`,
)
/** Restricted P-256 signing key, noDA. */
export const AK = hex('0023 000B 00050472 0000 0010 0018 000B 0003 0010 0000 0000')
/** Unrestricted P-256 signing key, noDA. */
export const SIGNING = hex('0023 000B 00040472 0000 0010 0018 000B 0003 0010 0000 0000')
/** Storage key, as the SRK. */
export const STORAGE = hex('0023 000B 00030472 0000 0006 0080 0043 0010 0003 0010 0000 0000')

/** HMAC-SHA-256 key; another key for each label. */
export function hmacKey(label: string): Uint8Array {
  const unique = createHash('sha256').update(label).digest('hex')
  return hex(`0008 000B 00040472 0000 0005 000B 0020 ${unique}`)
}

/** Name of a public area with nameAlg SHA-256 (Part 1, 16). */
export function nameOf(publicArea: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(0, 0x0b), createHash('sha256').update(publicArea).digest()])
}
