import { MetabindError } from '../errors.ts'
import type { Audit } from './audit.ts'
import { checkpointMessage } from './chain.ts'
import type { AuditFile } from './file.ts'

/** What signs: a key that the TPM holds. */
export interface CheckpointSigner {
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly key: string
  /** ECDSA with SHA-256 over the message. @returns r and s, 32 bytes each */
  sign(message: Buffer): Promise<Buffer>
}

/** Signs the end of the chain at intervals, and when told to; never if nothing was added. */
export interface Checkpoints {
  now(): Promise<void>
  end(): void
}

/** @param onFault told if the TPM does not sign; the next interval tries again */
export function startCheckpoints(
  file: AuditFile,
  signer: CheckpointSigner,
  audit: Audit,
  everyMs: number,
  onFault: (error: MetabindError) => void,
): Checkpoints {
  let signedSeq = 0
  let signing: Promise<void> | undefined

  const sign = async (): Promise<void> => {
    await file.flush()
    const of = file.head()
    // The checkpoint is itself one record more; alone it needs no other.
    if (of.seq <= signedSeq + 1) return
    const signature = (await signer.sign(checkpointMessage(of))).toString('base64')
    audit({ event: 'chain.checkpoint', checkpoint: { of, key: signer.key, signature } })
    signedSeq = of.seq
    await file.flush()
  }
  const now = (): Promise<void> => {
    signing ??= sign()
      .catch((error: unknown) => {
        onFault(
          error instanceof MetabindError ? error : new MetabindError('INTERNAL', undefined, error),
        )
      })
      .finally(() => {
        signing = undefined
      })
    return signing
  }
  const timer = setInterval(() => void now(), everyMs).unref()
  return { now, end: () => clearInterval(timer) }
}
