import { TpmError } from 'tpm2-js'
import { MetabindError } from '../errors.ts'
import type { Answer, Challenge } from '../format/activation.ts'
import { isHighRange } from '../format/tpm-templates.ts'
import { type InstanceKeys, type InstanceTpm, recreateAk, recreateEk } from './tpm.ts'

/**
 * Answers a verifier's challenge (TPM2_ActivateCredential, Part 3, 12.5): only the TPM that holds
 * both this EK and an object of the AK's Name can.
 *
 * @throws MetabindError ACTIVATION_OTHER if the challenge is for other keys or was altered
 */
export async function activateCredential(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  challenge: Challenge,
): Promise<Answer> {
  const isOurs = keys.ek.name.equals(challenge.ekName) && keys.ak.name.equals(challenge.akName)
  if (!isOurs) throw new MetabindError('ACTIVATION_OTHER', 'It names other keys.')
  const secret = await tpm.run(async (commands) => {
    const ek = await recreateEk(commands, keys)
    const ak = await recreateAk(commands, keys)
    // One of the low range wants PolicySecret of the endorsement hierarchy (EK credential profile 2.5, 2.2.1.4).
    const isOpen = isHighRange(keys.endorsement.kind)
    const session = await commands.startAuthSession({ type: isOpen ? 'hmac' : 'policy' })
    if (!isOpen) await commands.policySecret(session, 'endorsement')
    const { credentialBlob, encryptedSecret } = challenge
    const answered = commands.activateCredential(ak, ek, credentialBlob, encryptedSecret, session)
    return answered.catch(refuseAltered)
  })
  return { format: 'metabind answer', version: 1, id: challenge.id, secret: Buffer.from(secret) }
}

/**
 * A parameter that the TPM cannot take (TPM_RC_INTEGRITY for parameter 1, say) is the challenge's
 * fault, not the TPM's. Format-one codes say in bit 6 that a parameter is meant (Part 2, 6.6.2).
 */
function refuseAltered(error: unknown): never {
  const rc = error instanceof TpmError ? error.rc : undefined
  if (rc === undefined || (rc & 0xc0) !== 0xc0) throw error
  throw new MetabindError('ACTIVATION_OTHER', 'It was altered.', error)
}
