import type { Model, Taken } from './machine.ts'

/** An agent's start, step by step, while the TPM is reset, the source goes and comes, and evidence is good or not. */

type Stage = 'opening-tpm' | 'asking-source' | 'self-testing' | 'deriving-keys' | 'ready'

export interface Startup {
  readonly at: Stage
  /** Resets of the TPM so far. */
  readonly tpmBoot: number
  /** The boot that the keys were made in; undefined before. */
  readonly keysOf: number | undefined
  readonly isSourceUp: boolean
  /** Whether the cloud's document is there, without which a self-test fails here. */
  readonly isDocumentThere: boolean
  /** The boot in which the instance id was kept, sealed. */
  readonly keptIn: number | undefined
  /** The boot whose keys have passed the self-test of this start. Nothing is decided by it. */
  readonly testedOf: number | undefined
}

export type StartupAction = 'step' | 'reset-tpm' | 'source' | 'document' | 'restart'

export const STARTUP_GUARDS = {
  /** A self-test that fails ends what was begun. */
  selfTest: true,
  /** Keys that are made again must have the Names that they had. */
  names: true,
  /** What another boot of the TPM has sealed does not open. */
  sealed: true,
}
type Guards = typeof STARTUP_GUARDS

const RESETS_MAX = 2

export function startup(guards = STARTUP_GUARDS): Model<Startup, StartupAction> {
  return {
    initial: {
      at: 'opening-tpm',
      tpmBoot: 0,
      keysOf: undefined,
      isSourceUp: true,
      isDocumentThere: true,
      keptIn: undefined,
      testedOf: undefined,
    },
    actions: {
      step: (state) => (state.at === 'ready' ? [] : [step(guards, state, state.at)]),
      'reset-tpm': (state) =>
        state.tpmBoot === RESETS_MAX
          ? []
          : [does('reset', { ...state, tpmBoot: state.tpmBoot + 1 })],
      source: (state) => [does('changed', { ...state, isSourceUp: !state.isSourceUp })],
      document: (state) => [does('changed', { ...state, isDocumentThere: !state.isDocumentThere })],
      restart: (state) => [does('begins', begun(state))],
    },
    never: {
      'ready without a self-test of its keys': (_, { action, next }) =>
        action === 'step' && next.at === 'ready' && next.testedOf !== next.keysOf,
      'ready with a TPM that was reset since': (_, { action, next }) =>
        action === 'step' && next.at === 'ready' && next.keysOf !== next.tpmBoot,
      'an instance that another boot has kept': (_, { action, says, next }) =>
        action === 'step' && says.endsWith('kept') && next.keptIn !== next.keysOf,
    },
    shows: ({ at }) => at,
  }
}

function does(says: string, next: Startup): Taken<Startup> {
  return { args: [], says, next }
}

/** From the beginning: of what there was only files are left. */
function begun(state: Startup): Startup {
  return { ...state, at: 'opening-tpm', keysOf: undefined, testedOf: undefined }
}

function step(guards: Guards, state: Startup, at: Exclude<Stage, 'ready'>): Taken<Startup> {
  const isReset = guards.names && state.keysOf !== state.tpmBoot
  const failed = (code: string) => does(code, begun(state))
  switch (at) {
    case 'opening-tpm':
      return does('made', { ...state, at: 'asking-source', keysOf: state.tpmBoot })
    case 'asking-source':
      if (state.isSourceUp)
        return does('named', { ...state, at: 'self-testing', keptIn: state.keysOf })
      if (guards.sealed ? state.keptIn !== state.keysOf : state.keptIn === undefined) {
        return does('SOURCE_DOWN', state)
      }
      return does('kept', { ...state, at: 'self-testing' })
    case 'self-testing':
      if (isReset) return failed('TPM_OTHER')
      if (state.isDocumentThere)
        return does('passed', { ...state, at: 'deriving-keys', testedOf: state.tpmBoot })
      return guards.selfTest
        ? failed('VERIFY_DOCUMENT_ABSENT')
        : does('passed', { ...state, at: 'deriving-keys' })
    case 'deriving-keys':
      return isReset ? failed('TPM_OTHER') : does('derived', { ...state, at: 'ready' })
  }
}
