import { MetabindError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { SealKey } from '../storage/sealed-files.ts'
import { type DeriveRoots, deriveKey } from './derive-key.ts'

const LABEL = 'metabind seal key v1'

/**
 * Derives the sealing key as token keys are, from the same roots under another label and in a
 * context without the instance id: it is asked for before that is known, to find it out.
 *
 * @param context see sealContext
 * @param salt see loadSalt
 * @throws MetabindError TPM_…
 */
export async function deriveSealKey(
  derive: DeriveRoots,
  context: Buffer,
  salt: Secret<Buffer>,
): Promise<SealKey> {
  const [roots] = await derive([Buffer.concat([Buffer.from(LABEL), context])])
  if (roots === undefined) throw new MetabindError('INTERNAL', 'no sealing key derived')
  return { key: new Secret(deriveKey(roots, salt, LABEL)), context }
}
