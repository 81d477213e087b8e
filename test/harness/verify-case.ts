import { randomBytes } from 'node:crypto'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { MetabindError } from '../../src/errors.ts'
import { type Evidence, encodeEvidence } from '../../src/format/evidence.ts'
import { identityDocumentAudience } from '../../src/format/evidence-nonce.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { createSigner, type Signer } from '../../src/simulate/signer.ts'
import type { Trust } from '../../src/verify/trust.ts'
import { CHECKS, unverifiedSubject, type VerifyOptions } from '../../src/verify/verify.ts'
import { VerifyError } from '../../src/verify/verify-error.ts'
import { type Issuer, makeAuthority, makeEkCertificate } from './certificate.ts'
import { gatherEvidence } from './evidence.ts'
import { isKept, keptCase } from './kept-case.ts'

/** Genuine evidence with everything in it, and options that demand all of it. */
export interface VerifyCase {
  readonly tpm: Tpm
  readonly evidence: Evidence
  readonly options: VerifyOptions & { readonly trust: Trust }
  readonly nonce: Buffer
  readonly authority: Issuer
  readonly signer: Signer
  /** SubjectPublicKeyInfo of the EK. */
  readonly ekSpki: Buffer
}

export const INSTANCE_ID = 'i-bp1234567890abcdefgh'
export const NOW = new Date('2026-11-23T12:00:00Z')

/** A case with a TPM of its own, which ends with the tests of the file that asks. */
export async function genuineCaseOfFile(): Promise<VerifyCase> {
  const made: (() => Promise<void>)[] = []
  const it = await keptCase(async () => {
    const swtpm = await startSwtpm()
    const tpm = await openTpm({ tcti: swtpm.tcti })
    made.push(
      () => tpm.close(),
      () => swtpm.stop(),
    )
    return genuineCase(tpm)
  })
  afterAll(async () => {
    if (!(await isKept(it))) for (const end of made) await end()
  })
  return it
}

/** A P-256 EK with a certificate by an authority of the test, and an identity document. */
export async function genuineCase(tpm: Tpm): Promise<VerifyCase> {
  const nonce = randomBytes(32)
  const authority = makeAuthority('Test EK Authority')
  const signer = await createSigner()
  const bare = await gatherEvidence(tpm, { nonce, certificates: [], pkcs7: signed(signer, nonce) })
  const key = keyObjectOf(parsePublic(bare.ek.public))
  const ekSpki = key.export({ type: 'spki', format: 'der' })
  const certificates = [makeEkCertificate(authority, ekSpki, { subject: INSTANCE_ID })]
  return {
    tpm,
    evidence: { ...bare, ek: { ...bare.ek, certificates } },
    options: {
      nonce,
      now: NOW,
      trust: {
        ekAnchors: [authority.der],
        identityCertificate: Buffer.from(signer.certificatePem),
      },
      demandDocument: true,
      // The checks are looked at one by one; activation.test.ts has the whole ceremony.
      allowProvisional: true,
      expectedInstanceId: INSTANCE_ID,
    },
    nonce,
    authority,
    signer,
    ekSpki,
  }
}

/** A PKCS7 over an identity document, for the nonce's audience unless told otherwise. */
export function signed(
  signer: Signer,
  nonce: Buffer,
  members: Record<string, string> = {},
): Buffer {
  const audience = identityDocumentAudience({ nonce })
  const document = { 'zone-id': 'cn-hangzhou-i', 'instance-id': INSTANCE_ID, audience, ...members }
  return Buffer.from(signer.signPkcs7(JSON.stringify(document)), 'base64')
}

export function bytesOf(evidence: Evidence): Buffer {
  return Buffer.from(encodeEvidence(evidence))
}

/** Every check that refuses, each asked by itself: `name` and `code`. */
export function refusals(
  evidence: Evidence,
  options: VerifyOptions,
): { name: string; code: string }[] {
  const subject = unverifiedSubject(bytesOf(evidence), options)
  return CHECKS.flatMap(({ name, run }) => {
    try {
      run(subject)
      return []
    } catch (error) {
      return [{ name, code: codeOf(error) }]
    }
  })
}

/** The code of a refusal; any other error is a fault, and thrown on. */
export function codeOf(error: unknown): string {
  const isRefusal =
    error instanceof Error && 'code' in error && String(error.code).startsWith('VERIFY_')
  if (!isRefusal) throw error
  return String(error.code)
}

/** What a function is refused with: the code, and the check if it says one. */
export function refusalOf(run: () => unknown): { code: string; check: string | undefined } {
  const error = thrownBy(run)
  return { code: codeOf(error), check: error instanceof VerifyError ? error.check : undefined }
}

/** What a refusal says: its code, and what was found. */
export function detailOf(run: () => unknown): string {
  const error = thrownBy(run)
  if (!(error instanceof MetabindError)) throw error
  return `${error.code} ${error.detail}`
}

export function thrownBy(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it was not refused')
}
