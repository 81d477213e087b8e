import { ERRORS } from '../error-table.ts'
import { causeChain, type ErrorCode, MetabindError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ReadyState, StartupState } from './startup.ts'

const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 15_000
// The same at the next try: a person has to act, and the process says so by ending.
export const FATAL: readonly ErrorCode[] = [
  'DIRECTORY_UNSAFE',
  'DIRECTORY_FAULT',
  'LISTEN_FAILED',
  'TPM_STUCK',
]

/** What a step failed on, if waiting may help; thrown on if it cannot. */
export function passingProblem(error: unknown): MetabindError {
  if (!(error instanceof MetabindError) || FATAL.includes(error.code)) throw error
  return error
}

export function backoffMs(failures: number): number {
  return Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX)
}

/** A step of the startup that fails, and how often it has failed before. */
export interface StartupRetry {
  readonly at: StartupState['at']
  readonly problem: MetabindError
  readonly failuresBefore: number
}

export function nextRetry(
  last: StartupRetry | undefined,
  at: StartupState['at'],
  problem: MetabindError,
): StartupRetry {
  return { at, problem, failuresBefore: last?.at === at ? last.failuresBefore + 1 : 0 }
}

/**
 * The same step is taken again, but for the self-test: what it found wrong is mended in the TPM, its
 * NV memory or the source, so nothing that was taken from them before is kept. Nor is it if
 * another TPM answers than the one that the keys were made in, or the same after a reset.
 */
export function afterFailure(
  state: Exclude<StartupState, ReadyState>,
  { code }: MetabindError,
): StartupState {
  const isOver = state.at === 'self-testing' || code === 'TPM_OTHER'
  if (!isOver || state.at === 'opening-tpm') return state
  state.sealedFiles.clear()
  return { at: 'opening-tpm' }
}

/** The first failure and every power of two after it: a TPM missing for a day fills no disk. */
export function logWait(log: Log, { at, problem, failuresBefore }: StartupRetry): void {
  const level = Number.isInteger(Math.log2(failuresBefore + 1)) ? 'warn' : 'debug'
  const { remedy } = ERRORS[problem.code]
  log[level]({ state: at, code: problem.code, cause: causeChain(problem), remedy }, 'boot waits')
}
