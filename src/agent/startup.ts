import { type ErrorCode, MetabindError } from '../errors.ts'
import { type InstanceIdentity, sealContext } from '../format/instance-identity.ts'
import type { Attester } from '../identity/attester.ts'
import type { Continuity } from '../identity/continuity.ts'
import type { Demand } from '../identity/endorsement.ts'
import type { InstanceChange } from '../identity/instance-record.ts'
import type { SelfTestResult } from '../identity/self-test.ts'
import {
  createInstanceKeys,
  type InstanceKeys,
  type InstanceTpm,
  rootHmacs,
} from '../identity/tpm.ts'
import type { SealedFiles, SealKey } from '../storage/sealed-files.ts'
import { type BoundKeys, boundKeys, type KeyBinding } from '../token/keys.ts'
import { deriveSealKey } from '../token/seal-key.ts'

/**
 * From nothing to ready. A state can only be built from what the one before produced, so that
 * "ready without keys" does not compile. A step that fails throws its code; the agent waits and
 * takes the same step again.
 */
export type StartupState =
  | { readonly at: 'opening-tpm' }
  | { readonly at: 'asking-source'; readonly keys: InstanceKeys; readonly sealedFiles: SealedFiles }
  | ({ readonly at: 'self-testing' } & Proved)
  | ({ readonly at: 'deriving-keys' } & Tested)
  | ReadyState

/** Who this instance is, and who says so. */
interface Proved {
  readonly keys: InstanceKeys
  readonly sealedFiles: SealedFiles
  readonly identity: InstanceIdentity
  /** Set if the source failed so, and the identity is the one that it gave earlier in this boot. */
  readonly insteadOfSource: MetabindError | undefined
}

/** That the identity holds, and what has happened to it since the last start. */
interface Tested extends Proved {
  readonly attester: Attester
  readonly continuity: Continuity
  readonly change: InstanceChange
  readonly selfTest: SelfTestResult
}

/** All that the relay needs. */
export interface ReadyState extends Omit<Tested, 'identity'> {
  readonly at: 'ready'
  readonly tokenKeys: BoundKeys
}

/** What the steps work with. */
export interface StartupDeps extends Omit<KeyBinding, 'identity' | 'derive'> {
  readonly tpm: InstanceTpm
  readonly dialect: string
  readonly ekCertificate: Demand
  readonly attesterOf: (keys: InstanceKeys, identity: InstanceIdentity) => Attester
  readonly continuityOf: (identity: InstanceIdentity) => Continuity
  /** Asks the source for the instance id. */
  readonly readInstanceId: () => Promise<string>
  /** Opens what an earlier process of this boot has kept. */
  readonly openSealedFiles: (sealKey: SealKey) => SealedFiles
  /** Told that the source has named another instance earlier in this boot. */
  readonly onOtherInstance: (before: string, now: string) => void
}

const INSTANCE_ID = /^[A-Za-z0-9._-]{1,128}$/
const SOURCE_FAILURES: readonly ErrorCode[] = ['SOURCE_DOWN', 'SOURCE_NONSENSE', 'METADATA_ABSENT']

/**
 * Takes one step.
 *
 * @throws MetabindError TPM_…, SOURCE_… of the step; the state is then still good for another try
 */
export async function advance(
  state: Exclude<StartupState, ReadyState>,
  deps: StartupDeps,
): Promise<StartupState> {
  switch (state.at) {
    case 'opening-tpm': {
      const keys = await createInstanceKeys(deps.tpm, deps.ekCertificate)
      return { at: 'asking-source', keys, sealedFiles: await openSealedFiles(keys, deps) }
    }
    case 'asking-source':
      return { at: 'self-testing', ...(await identify(state.keys, state.sealedFiles, deps)) }
    case 'self-testing':
      return { at: 'deriving-keys', ...(await test(state, deps)) }
    case 'deriving-keys': {
      const { keys, identity } = state
      const derive: KeyBinding['derive'] = (messages) => rootHmacs(deps.tpm, keys, messages)
      const tokenKeys = boundKeys({ ...deps, identity, derive })
      await tokenKeys.refresh()
      return { ...state, at: 'ready', tokenKeys }
    }
  }
}

/** The change is noted only behind the test: a start that fails it is not the last good one. */
async function test(proved: Proved, deps: StartupDeps): Promise<Tested> {
  const { keys, sealedFiles, identity, insteadOfSource } = proved
  const attester = deps.attesterOf(keys, identity)
  const selfTest = await attester.selfTest()
  const continuity = deps.continuityOf(identity)
  const change = await continuity.look()
  return { keys, sealedFiles, identity, insteadOfSource, attester, continuity, change, selfTest }
}

async function openSealedFiles(keys: InstanceKeys, deps: StartupDeps): Promise<SealedFiles> {
  const context = sealContext(namesOf(keys, deps), deps.bootId)
  const derive: KeyBinding['derive'] = (messages) => rootHmacs(deps.tpm, keys, messages)
  return deps.openSealedFiles(await deriveSealKey(derive, context, deps.salt))
}

/** Asks the source, whose answer wins; only if it gives none counts what it said earlier. */
async function identify(
  keys: InstanceKeys,
  sealedFiles: SealedFiles,
  deps: StartupDeps,
): Promise<Proved> {
  const proved = (instanceId: string, insteadOfSource?: MetabindError): Proved => {
    const identity = { ...namesOf(keys, deps), instanceId }
    return { keys, sealedFiles, identity, insteadOfSource }
  }
  try {
    const instanceId = requireInstanceId(await deps.readInstanceId())
    const before = sealedFiles.read('kept-proof')?.toString()
    if (before !== undefined && before !== instanceId) deps.onOtherInstance(before, instanceId)
    sealedFiles.write('kept-proof', Buffer.from(instanceId))
    return proved(instanceId)
  } catch (error) {
    const before = isSourceFailure(error) ? sealedFiles.read('kept-proof')?.toString() : undefined
    if (before === undefined || !isSourceFailure(error)) throw error
    return proved(requireInstanceId(before), error)
  }
}

function isSourceFailure(error: unknown): error is MetabindError {
  return error instanceof MetabindError && SOURCE_FAILURES.includes(error.code)
}

function requireInstanceId(text: string): string {
  const instanceId = text.trim()
  if (INSTANCE_ID.test(instanceId)) return instanceId
  throw new MetabindError('SOURCE_NONSENSE', 'what it calls the instance id is none')
}

function namesOf(keys: InstanceKeys, deps: StartupDeps): Omit<InstanceIdentity, 'instanceId'> {
  return {
    dialect: deps.dialect,
    ekName: keys.ek.name,
    akName: keys.ak.name,
    rkName: keys.rk.name,
  }
}
