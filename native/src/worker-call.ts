import { TpmError } from './tpm-error.ts'
import type { NativeFunction } from './tss-libraries.ts'

/**
 * Native calls on libuv's worker threads. A blocked native call cannot be interrupted: it keeps its
 * thread, of which a process has four by default (UV_THREADPOOL_SIZE) for files and DNS as well.
 */

const STUCK_CALLS_MAX = 2

/** Arguments of running calls: native code holds their addresses, so they must not be collected. */
const inFlight = new Set<readonly unknown[]>()

let stuckCalls = 0

/** Settles when the function has returned, however long that takes. */
export function callOnWorker(
  native: NativeFunction,
  ...parameters: readonly unknown[]
): Promise<number> {
  inFlight.add(parameters)
  return new Promise((resolve, reject) => {
    native.async(...parameters, (error: unknown, result: number) => {
      inFlight.delete(parameters)
      if (error) reject(error)
      else resolve(result)
    })
  })
}

/** @throws TpmError TPM_TIMEOUT after `timeoutMs`; the call goes on and counts as stuck until it returns. */
export async function withDeadline<T>(
  what: string,
  pending: Promise<T>,
  timeoutMs: number,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      stuckCalls += 1
      pending.then(countReturn, countReturn)
      reject(new TpmError('TPM_TIMEOUT', `${what}: no answer within ${timeoutMs} ms`))
    }, timeoutMs)
  })
  try {
    return await Promise.race([pending, deadline])
  } finally {
    clearTimeout(timer)
  }
}

/** Keeps the last worker threads for the rest of the process. @throws TpmError TPM_TIMEOUT */
export function refuseMoreStuckCalls(): void {
  if (stuckCalls < STUCK_CALLS_MAX) return
  throw new TpmError('TPM_TIMEOUT', `${stuckCalls} earlier calls to a TPM have not returned yet`)
}

function countReturn(): void {
  stuckCalls -= 1
}
