import { createHash } from 'node:crypto'
import type { Evidence } from '../../src/format/evidence.ts'
import { parseAttest, type TpmAttest } from '../../src/format/tpm-attest.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import type { VerifyOptions } from '../../src/verify/index.ts'
import { type Forgery, forge, softwareAk } from './attacker.ts'
import type { VerifyCase } from './verify-case.ts'

/** A vector: evidence altered in one thing, and the one check that must refuse it. */

export interface Altered {
  readonly evidence?: Evidence
  readonly options?: Partial<VerifyOptions>
}

export interface Vector {
  readonly title: string
  readonly check: string
  readonly code: string
  /** Checks that cannot hold if this one does not. */
  readonly also?: readonly string[]
  readonly alter: (it: VerifyCase) => Altered | Promise<Altered>
}

export const vector = (
  title: string,
  check: string,
  code: string,
  alter: Vector['alter'],
): Vector => ({
  title,
  check,
  code,
  alter,
})

export const forged =
  (forgery: (genuine: TpmAttest, it: VerifyCase) => Forgery) =>
  (subject: VerifyCase): Altered => {
    const genuine = parseAttest(subject.evidence.quote.attest)
    return { evidence: forge(subject.evidence, forgery(genuine, subject)) }
  }

export const flipLast = (bytes: Buffer): Buffer => {
  const flipped = Buffer.from(bytes)
  flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1)
  return flipped
}

export const withEk = (evidence: Evidence, certificates: readonly Buffer[]): Evidence => ({
  ...evidence,
  ek: { ...evidence.ek, certificates },
})

export const withPkcs7 = (evidence: Evidence, pkcs7: Buffer): Evidence => ({
  ...evidence,
  identityDocument: { pkcs7 },
})

export function attributes(change: (bits: number) => number): Vector['alter'] {
  return forged(() => ({
    akPublic: (key) => {
      const template = Buffer.from(AK_TEMPLATE)
      template.writeUInt32BE(change(template.readUInt32BE(4)) >>> 0, 4)
      return softwareAk(key, template)
    },
  }))
}

export const ZERO = Buffer.alloc(32)
export const sha1Of = (...values: Buffer[]) =>
  createHash('sha1').update(Buffer.concat(values)).digest()
export const digestOf = (...values: Buffer[]) =>
  createHash('sha256').update(Buffer.concat(values)).digest()

/** A PCR policy file for the bank of SHA-256. */
export function policy(sha256: Record<string, string | string[]>): Buffer {
  return Buffer.from(
    JSON.stringify({ format: 'metabind pcr policy', version: 1, pcrs: { sha256 } }),
  )
}
