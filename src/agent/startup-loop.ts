import { setTimeout as sleep } from 'node:timers/promises'
import type { MetabindError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Supervisor } from '../service-manager.ts'
import { advance, type ReadyState, type StartupDeps, type StartupState } from './startup.ts'
import {
  afterFailure,
  backoffMs,
  logWait,
  nextRetry,
  passingProblem,
  type StartupRetry,
} from './startup-retry.ts'

/** The startup, as it goes on. */
export interface StartupLoop {
  readonly state: StartupState
  /** What the next step waits for; undefined while none has failed. */
  readonly waitsFor: MetabindError | undefined
  /**
   * Takes step after step, each again for as long as waiting may help.
   *
   * @throws MetabindError if only a new process can help; AbortError when the agent ends
   */
  toReady(deps: StartupDeps): Promise<ReadyState>
}

type Unready = Exclude<StartupState, ReadyState>

// Where the startup is, for a person who reads the status of the unit.
const STEPS: Readonly<Record<Unready['at'], string>> = {
  'opening-tpm': 'making the keys of the TPM',
  'asking-source': 'asking the metadata service which instance this is',
  'self-testing': 'testing what the TPM and the metadata service say of this instance',
  'deriving-keys': 'deriving the token keys',
}

/** @param pause waits between two tries; it throws AbortError when the agent ends */
export function startupLoop(
  supervisor: Supervisor,
  log: Log,
  ending: AbortSignal,
  pause: (ms: number) => Promise<void> = (ms) => sleep(ms, undefined, { signal: ending }),
): StartupLoop {
  let state: StartupState = { at: 'opening-tpm' }
  let retry: StartupRetry | undefined

  const step = async (before: Unready, deps: StartupDeps): Promise<void> => {
    const { at } = before
    supervisor.notReady(STEPS[at])
    if (retry === undefined) log.info({ state: at }, 'boot')
    try {
      state = await advance(before, deps)
      if (retry?.at === at) retry = undefined
    } catch (error) {
      retry = nextRetry(retry, at, passingProblem(error))
      logWait(log, retry)
      supervisor.notReady(`${STEPS[at]}, waiting: ${retry.problem.message}`)
      await pause(backoffMs(retry.failuresBefore))
      state = afterFailure(before, retry.problem)
    }
  }
  return {
    get state() {
      return state
    },
    get waitsFor() {
      return retry?.problem
    },
    toReady: async (deps) => {
      for (;;) {
        const before: StartupState = state
        if (before.at === 'ready') return before
        await step(before, deps)
      }
    },
  }
}
