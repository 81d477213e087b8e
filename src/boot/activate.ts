import { MetabindError } from '../errors.ts'
import type { Answer, Challenge } from '../format/activation.ts'
import { type InstanceKeys, type InstanceTpm, recreateAk, recreateEk } from './tpm.ts'

/**
 * Answers a verifier's challenge (TPM2_ActivateCredential, Part 3, 12.5): only the TPM that holds
 * both this EK and an object of the AK's Name can.
 *
 * @throws MetabindError ACTIVATION_OTHER where the challenge is for other keys or was altered
 */
export async function activate(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  challenge: Challenge,
): Promise<Answer> {
  const isOurs = keys.ek.name.equals(challenge.ekName) && keys.ak.name.equals(challenge.akName)
  if (!isOurs) throw new MetabindError('ACTIVATION_OTHER', 'It names other keys.')
  const secret = await tpm.run(async (commands) => {
    const ek = await recreateEk(commands, keys)
    const ak = await recreateAk(commands, keys)
    // An EK of the high range has userWithAuth set and takes its empty password; one of the low
    // range wants PolicySecret of the endorsement hierarchy (EK credential profile 2.5, 2.2.1.4).
    const isHighRange = keys.endorsement.kind === 'P-384'
    const session = await commands.startAuthSession({ type: isHighRange ? 'hmac' : 'policy' })
    if (!isHighRange) await commands.policySecret(session, 'endorsement')
    const { credentialBlob, encryptedSecret } = challenge
    return commands.activateCredential(ak, ek, credentialBlob, encryptedSecret, session)
  })
  return { format: 'metabind answer', version: 1, id: challenge.id, secret: Buffer.from(secret) }
}
