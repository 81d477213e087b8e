import { MetabindError } from '../errors.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import { type BoundKeys, boundKeys, type KeyBinding } from './token-keys.ts'
import { createInstanceKeys, type InstanceKeys, type InstanceTpm, rootHmacs } from './tpm.ts'

/**
 * From nothing to ready. A state can only be built from what the one before produced, so that
 * "ready without keys" does not compile. A step that fails throws its code; the agent waits and
 * takes the same step again.
 */
export type BootState =
  | { readonly at: 'opening-tpm' }
  | { readonly at: 'asking-source'; readonly keys: InstanceKeys }
  | {
      readonly at: 'deriving-keys'
      readonly keys: InstanceKeys
      readonly identity: InstanceIdentity
    }
  | ReadyState

/** All that the relay needs. */
export interface ReadyState {
  readonly at: 'ready'
  readonly keys: InstanceKeys
  readonly tokenKeys: BoundKeys
}

/** What the steps work with. */
export interface BootParts extends Omit<KeyBinding, 'identity' | 'derive'> {
  readonly tpm: InstanceTpm
  readonly dialect: string
  /** Asks the source for the instance id. */
  readonly readInstanceId: () => Promise<string>
}

const INSTANCE_ID = /^[A-Za-z0-9._-]{1,128}$/

/**
 * Takes one step.
 *
 * @throws MetabindError TPM_…, SOURCE_… of the step; the state is then still good for another try
 */
export async function advance(
  state: Exclude<BootState, ReadyState>,
  parts: BootParts,
): Promise<BootState> {
  switch (state.at) {
    case 'opening-tpm':
      return { at: 'asking-source', keys: await createInstanceKeys(parts.tpm) }
    case 'asking-source':
      return { ...state, at: 'deriving-keys', identity: await identify(state.keys, parts) }
    case 'deriving-keys': {
      const { keys, identity } = state
      const derive: KeyBinding['derive'] = (messages) => rootHmacs(parts.tpm, keys, messages)
      const tokenKeys = boundKeys({ ...parts, identity, derive })
      await tokenKeys.refresh()
      return { at: 'ready', keys, tokenKeys }
    }
  }
}

async function identify(keys: InstanceKeys, parts: BootParts): Promise<InstanceIdentity> {
  const instanceId = (await parts.readInstanceId()).trim()
  if (!INSTANCE_ID.test(instanceId)) {
    throw new MetabindError('SOURCE_NONSENSE', 'what it calls the instance id is none')
  }
  return {
    dialect: parts.dialect,
    instanceId,
    ekName: keys.ek.name,
    akName: keys.ak.name,
    rkName: keys.rk.name,
  }
}
