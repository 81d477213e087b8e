import { setTimeout as sleep } from 'node:timers/promises'
import type { MetabindError } from '../errors.ts'
import type { Log } from '../log.ts'
import { advance, type BootDeps, type BootState, type ReadyState } from './startup.ts'
import {
  afterFailure,
  backoffMs,
  logWait,
  nextSetback,
  passingProblem,
  type Setback,
} from './startup-retry.ts'
import type { Supervisor } from './supervisor.ts'

/** Boot, as it goes on. */
export interface BootRun {
  readonly state: BootState
  /** What the next step waits for; undefined while none has failed. */
  readonly waitsFor: MetabindError | undefined
  /**
   * Takes step after step, each again for as long as waiting may help.
   *
   * @throws MetabindError where only a new process can help; AbortError when the agent ends
   */
  toReady(deps: BootDeps): Promise<ReadyState>
}

type Unready = Exclude<BootState, ReadyState>

// What boot is at, for a person who reads the status of the unit.
const STEPS: Readonly<Record<Unready['at'], string>> = {
  'opening-tpm': 'making the keys of the TPM',
  'asking-source': 'asking the metadata service which instance this is',
  'self-testing': 'testing what the TPM and the metadata service say of this instance',
  'deriving-keys': 'deriving the token keys',
}

/** @param pause waits between two tries; it throws AbortError when the agent ends */
export function bootRun(
  supervisor: Supervisor,
  log: Log,
  ending: AbortSignal,
  pause: (ms: number) => Promise<void> = (ms) => sleep(ms, undefined, { signal: ending }),
): BootRun {
  let state: BootState = { at: 'opening-tpm' }
  let setback: Setback | undefined

  const step = async (before: Unready, deps: BootDeps): Promise<void> => {
    const { at } = before
    supervisor.notReady(STEPS[at])
    if (setback === undefined) log.info({ state: at }, 'boot')
    try {
      state = await advance(before, deps)
      if (setback?.at === at) setback = undefined
    } catch (error) {
      setback = nextSetback(setback, at, passingProblem(error))
      logWait(log, setback)
      supervisor.notReady(`${STEPS[at]}, waiting: ${setback.problem.message}`)
      await pause(backoffMs(setback.failuresBefore))
      state = afterFailure(before, setback.problem)
    }
  }
  return {
    get state() {
      return state
    },
    get waitsFor() {
      return setback?.problem
    },
    toReady: async (deps) => {
      for (;;) {
        const before: BootState = state
        if (before.at === 'ready') return before
        await step(before, deps)
      }
    },
  }
}
