/** Credentials that a command prints, as SDKs run one, in place of made-up ones. */
import { printedBy } from './command-output.ts'
import { credentialsIn } from './process-credentials.ts'
import { type CredentialSource, CredentialsDue, type StsCredentials } from './sts-credentials.ts'

/** Before their end new ones are asked for; of short-lived ones at half their time. */
const MARGIN_MS = 300_000
/** A command that fails is not run again for every reader that comes. */
const RETRY_MS = 2_000

export interface CommandCredentialsDeps {
  /** Wall clock in milliseconds. */
  readonly now: () => number
  /** Told of each run that gave none, in a sentence without what was printed. */
  readonly onFailure: (why: string) => void
}

interface Held {
  readonly credentials: StsCredentials
  readonly renewAtMs: number
  readonly endMs: number
}

/**
 * Runs a command for credentials when they are wanted and those held are about to end: one run at a time,
 * however many wait. If it fails, those held are served until they end.
 *
 * @param command for /bin/sh
 */
export function commandCredentials(
  command: string,
  { now, onFailure }: CommandCredentialsDeps,
): CredentialSource {
  let held: Held | undefined
  let running: Promise<boolean> | undefined
  let retryAtMs = 0
  const closing = new AbortController()
  const isGood = () => held !== undefined && now() < held.endMs

  const run = async (): Promise<boolean> => {
    if (now() < retryAtMs) return isGood()
    try {
      const { credentials, endMs } = credentialsIn(await printedBy(command, closing.signal), now())
      held = { credentials, endMs, renewAtMs: endMs - Math.min(MARGIN_MS, (endMs - now()) / 2) }
    } catch (error) {
      retryAtMs = now() + RETRY_MS
      if (!closing.signal.aborted) onFailure(error instanceof Error ? error.message : String(error))
    }
    return isGood()
  }
  return {
    read: () => {
      const isDue = held === undefined || (now() >= held.renewAtMs && now() >= retryAtMs)
      if (held === undefined || isDue || !isGood()) throw new CredentialsDue()
      return held.credentials
    },
    renew: () => {
      running ??= run().finally(() => {
        running = undefined
      })
      return running
    },
    rotate: () => {
      held = undefined
      retryAtMs = 0
    },
    close: () => closing.abort(),
  }
}
