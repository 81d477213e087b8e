import { bootTimeMs } from 'metabind-linux'
import type { InstanceIdentity } from '../../src/format/instance-identity.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import {
  createInstanceKeys,
  type InstanceKeys,
  instanceTpm,
  rootHmacs,
} from '../../src/identity/tpm.ts'
import { Secret } from '../../src/secret.ts'
import type { DeriveRoots } from '../../src/token/derive-key.ts'
import { type BoundKeys, boundKeys, type KeyBinding } from '../../src/token/keys.ts'
import { FIRST_GENERATION, type Revocations } from '../../src/token/revocations.ts'

/** No token was revoked, and none will be. */
export const NOTHING_REVOKED: Revocations = {
  generation: FIRST_GENERATION,
  isRevoked: () => false,
  revokeToken: () => undefined,
  revokeAll: () => undefined,
}

export const SALT = Buffer.alloc(32, 7)

/** Keys of the agent's own making on a real TPM, without an agent around them. */
export interface KeysOnTpm extends AsyncDisposable {
  readonly instanceKeys: InstanceKeys
  readonly identity: InstanceIdentity
  /** What RK and BK make of messages. */
  readonly roots: DeriveRoots
  /** Token keys; what is not given is the same each time. */
  keys(binding?: Partial<KeyBinding>): BoundKeys
}

export async function keysOnTpm(tcti: string, instanceId = 'i-test'): Promise<KeysOnTpm> {
  const tpm = instanceTpm(tcti, 10_000)
  const instanceKeys = await createInstanceKeys(tpm)
  const identity = {
    dialect: 'aliyun',
    instanceId,
    ekName: instanceKeys.ek.name,
    akName: instanceKeys.ak.name,
    rkName: instanceKeys.rk.name,
  }
  const roots: DeriveRoots = (messages) => rootHmacs(tpm, instanceKeys, messages)
  return {
    instanceKeys,
    identity,
    roots,
    keys: (binding) =>
      boundKeys({
        identity,
        bootId: 'a boot',
        salt: new Secret(SALT),
        revocations: NOTHING_REVOKED,
        derive: roots,
        bootTimeMs,
        ...binding,
      }),
    [Symbol.asyncDispose]: () => tpm.close(),
  }
}

/** The SubjectPublicKeyInfo of a TPM's EK, in DER. */
export async function ekSpki(tcti: string): Promise<Buffer> {
  await using made = await keysOnTpm(tcti)
  const key = keyObjectOf(parsePublic(made.instanceKeys.ek.publicArea))
  return key.export({ type: 'spki', format: 'der' })
}
