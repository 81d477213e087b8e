import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { PRIMARIES } from '../format/tpm-templates.ts'
import { signingQueue } from './signing-queue.ts'
import { type InstanceKeys, type InstanceTpm, recreate } from './tpm.ts'

/** Signs with SK, inside the TPM. */
export interface SkSigner {
  /**
   * @param message what is signed: the SHA-256 of its bytes, of a text in UTF-8
   * @param uid for whom; undefined: for the agent itself
   * @returns TPMT_SIGNATURE (ECDSA, P-256, SHA-256)
   * @throws MetabindError LIMIT_SIGNATURES if too many wait, at once or when others have made room for themselves; TPM_…
   */
  sign(message: string | Uint8Array, uid?: number): Promise<Buffer>
}

interface Waiting {
  readonly digest: Buffer
  readonly settle: PromiseWithResolvers<Buffer>
}

/** Signed together, SK being made once for all of them; whoever comes meanwhile waits for no more than these. */
const BATCH_MAX = 16

/** Those that wait while the TPM works are signed together, users in turn. */
export function skSigner(tpm: InstanceTpm, keys: InstanceKeys): SkSigner {
  const queue = signingQueue<Waiting>()
  let working = false
  const work = async (): Promise<void> => {
    for (let batch = queue.take(BATCH_MAX); batch.length > 0; batch = queue.take(BATCH_MAX)) {
      await signAll(tpm, keys, batch)
    }
    working = false
  }
  return {
    sign: (message, uid) => {
      const settle = Promise.withResolvers<Buffer>()
      const asked = { digest: createHash('sha256').update(message).digest(), settle }
      const left = queue.add(uid ?? 'agent', asked)
      if (left === asked) throw new MetabindError('LIMIT_SIGNATURES')
      left?.settle.reject(new MetabindError('LIMIT_SIGNATURES'))
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
