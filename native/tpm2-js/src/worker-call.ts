import { TpmError } from './tpm-error.ts'
import type { NativeFunction } from './tss-libraries.ts'

/**
 * Native calls on libuv's worker threads. A blocked native call cannot be interrupted: it keeps its
 * thread, of which a process has four by default (UV_THREADPOOL_SIZE) for files and DNS as well.
 */

const STUCK_CONTEXTS_MAX = 2

/** Arguments of running calls: native code holds their addresses, so they must not be collected. */
const inFlight = new Set<readonly unknown[]>()

/** One entry for each context that keeps its worker thread for longer than it was given. */
const stuck = new Set<Promise<unknown>>()

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

/** @throws TpmError TPM_TIMEOUT after `timeoutMs`; the call goes on, see countAsStuck */
export async function withDeadline<T>(
  what: string,
  pending: Promise<T>,
  timeoutMs: number,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new TpmError('TPM_TIMEOUT', `${what}: no answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
  })
  try {
    return await Promise.race([pending, deadline])
  } finally {
    clearTimeout(timer)
  }
}

/** @param free settles when the context needs its thread no more; the same one counts once */
export function countAsStuck(free: Promise<unknown>): void {
  stuck.add(free)
  const uncount = () => void stuck.delete(free)
  free.then(uncount, uncount)
}

/** Keeps the last worker threads for the rest of the process. @throws TpmError TPM_STUCK */
export function refuseMoreStuckContexts(): void {
  if (stuck.size < STUCK_CONTEXTS_MAX) return
  throw new TpmError(
    'TPM_STUCK',
    `${stuck.size} connections to a TPM wait for answers that are late`,
  )
}
