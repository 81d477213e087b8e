import { setTimeout as sleep } from 'node:timers/promises'
import { MetabindError } from '../errors.ts'
import { secondsOf } from './federate-google.ts'
import { writeSecretFile } from './files.ts'
import { complain } from './output.ts'

const WAIT_MS_MIN = 5000
const WAIT_MS_MAX = 3_600_000

/**
 * Half of what is left of a token's life: the agent fetches another from half of the life on, so that one that is not new
 * yet is followed by another look.
 */
export function waitMs(expiresSeconds: number, nowMs: number): number {
  return Math.min(Math.max((expiresSeconds * 1000 - nowMs) / 2, WAIT_MS_MIN), WAIT_MS_MAX)
}

/** Aborted by SIGTERM or SIGINT, which end nothing else any more. */
export function endSignal(): AbortSignal {
  const ending = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ending.abort())
  return ending.signal
}

/** Writes a file anew as its token grows old, until it is to end. What fails is said once, and tried again. */
export async function keepFile(
  file: string,
  first: string,
  fetchToken: () => Promise<string>,
  ending: AbortSignal,
): Promise<void> {
  let token = first
  let failure: string | undefined
  while (await paused(waitMs(secondsOf(token), Date.now()), ending)) {
    try {
      const next = await fetchToken()
      // One that is none takes the place of nothing.
      secondsOf(next)
      if (next !== token) writeSecretFile(file, next)
      token = next
      failure = undefined
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      if (error.code !== failure)
        complain(`${error.code}: ${error.message.replace(/\.$/, '')}; trying again`)
      failure = error.code
    }
  }
}

/** @returns false if it is to end */
async function paused(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
