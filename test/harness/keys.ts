import { bootTimeMs } from 'metabind-linux'
import type { InstanceIdentity } from '../../src/format/instance-identity.ts'
import {
  createInstanceKeys,
  type InstanceKeys,
  instanceTpm,
  rootHmacs,
} from '../../src/identity/tpm.ts'
import { Secret } from '../../src/secret.ts'
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
  return {
    instanceKeys,
    identity,
    keys: (binding) =>
      boundKeys({
        identity,
        bootId: 'a boot',
        salt: new Secret(SALT),
        revocations: NOTHING_REVOKED,
        derive: (messages) => rootHmacs(tpm, instanceKeys, messages),
        bootTimeMs,
        ...binding,
      }),
    [Symbol.asyncDispose]: () => tpm.close(),
  }
}
