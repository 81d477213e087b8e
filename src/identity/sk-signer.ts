import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { PRIMARIES } from '../format/tpm-templates.ts'
import { type InstanceKeys, type InstanceTpm, recreate } from './tpm.ts'

/** Signs with SK, inside the TPM. */
export interface SkSigner {
  /**
   * @param message what is signed: the SHA-256 of its bytes, of a text in UTF-8
   * @returns TPMT_SIGNATURE (ECDSA, P-256, SHA-256)
   * @throws MetabindError LIMIT_SIGNATURES at once if too many wait; TPM_…
   */
  sign(message: string | Uint8Array): Promise<Buffer>
}

interface Waiting {
  readonly digest: Buffer
  readonly settle: PromiseWithResolvers<Buffer>
}

/** How many signatures may wait. A chip makes a few in a second: more would only time out. */
export const SIGNATURES_WAITING_MAX = 32

/** Those that wait while the TPM works are signed together: SK is made once for all of them. */
export function skSigner(tpm: InstanceTpm, keys: InstanceKeys): SkSigner {
  let waiting: Waiting[] = []
  let working = false
  const work = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await signAll(tpm, keys, batch)
    }
    working = false
  }
  return {
    sign: (message) => {
      if (waiting.length >= SIGNATURES_WAITING_MAX) throw new MetabindError('LIMIT_SIGNATURES')
      const settle = Promise.withResolvers<Buffer>()
      waiting.push({ digest: createHash('sha256').update(message).digest(), settle })
      if (!working) {
        working = true
        void work()
      }
      return settle.promise
    },
  }
}

async function signAll(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  batch: readonly Waiting[],
): Promise<void> {
  try {
    await tpm.run(async (commands) => {
      const sk = await recreate(commands, PRIMARIES.SK, keys.sk)
      for (const { digest, settle } of batch) {
        settle.resolve(Buffer.from(await commands.sign(sk, digest)))
      }
    })
  } catch (error) {
    // Those that were signed before the failure are settled already, and stay so.
    for (const { settle } of batch) settle.reject(error)
  }
}
