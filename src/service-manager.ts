import { setTimeout as sleep } from 'node:timers/promises'
import { monotonicUsec, notify } from 'metabind-linux'

/** Whom a program tells how it is. */
export interface Supervisor {
  /** It serves: of the agent, tokens are issued and accepted. */
  ready(status: string): void
  /** It does not, or not yet. */
  notReady(status: string): void
}

/** systemd, by the messages of sd_notify(3). If nobody asked for them, nothing is sent. */
export interface ServiceManager extends Supervisor {
  /** Runs a reload between RELOADING=1 and READY=1. */
  reloading(reload: () => Promise<void>): Promise<void>
  stopping(): void
}

// A manager that does not read is asked again this often. What a reload and a stop say fits several times.
const RESEND_MS = 1000
const UNSENT_MAX = 8

/**
 * What the manager does not take is sent again, in order, until it does: a lost READY=1 would have it end
 * an agent that serves.
 *
 * @param tell what could not be sent, once until something is; a manager that misses the watchdog acts by itself
 */
export function serviceManager(tell: (error: unknown) => void): ServiceManager {
  let started = false
  let ready = false
  let unsent: string[] = []
  let resend: NodeJS.Timeout | undefined
  const sendAll = (): void => {
    try {
      for (let [message] = unsent; message !== undefined; [message] = unsent) {
        notify(message)
        unsent.shift()
      }
      resend = undefined
    } catch (error) {
      if (resend === undefined) tell(error)
      resend = setTimeout(sendAll, RESEND_MS).unref()
    }
  }
  const send = (...lines: string[]): void => {
    unsent = [...unsent, lines.join('\n')].slice(-UNSENT_MAX)
    if (resend === undefined) sendAll()
  }
  // The time in the same message tells systemd which reload this is (sd_notify(3), MONOTONIC_USEC).
  const sendReloading = (...lines: string[]): void =>
    send('RELOADING=1', `MONOTONIC_USEC=${monotonicUsec()}`, ...lines)
  return {
    ready: (status) => {
      started = true
      ready = true
      send('READY=1', statusLine(status))
    },
    // READY=1 cannot be taken back. "reloading" is the one state of a running unit that is not
    // "active"; the status says what it means.
    notReady: (status) => {
      ready = false
      if (started) sendReloading(statusLine(status))
      else send(statusLine(status))
    },
    reloading: async (reload) => {
      if (started) sendReloading()
      await reload()
      if (ready) send('READY=1')
    },
    stopping: () => send('STOPPING=1', statusLine('answering what is under way, then ending')),
  }
}

/**
 * How long an agent that cannot begin stays. systemd starts it again half a second after its end, without end, and
 * forgets what it said: in this time `systemctl status` shows why.
 */
const SHOWN_MS = 5000

/**
 * Tells systemd what the agent ends for.
 *
 * @param mayStay whether to stay for a while, so that the reason can be read; not if callers were served
 * @returns when the process is to end; at once if nobody asked
 */
export async function showEnd(reason: string, mayStay: boolean): Promise<void> {
  try {
    if (notify(statusLine(`cannot go on: ${reason}`)) && mayStay) await sleep(SHOWN_MS)
  } catch {
    // The journal has it, too.
  }
}

/**
 * Feeds the watchdog of WATCHDOG_USEC from the event loop, twice as often as asked. A loop that is
 * blocked feeds nothing, and systemd starts the agent again.
 */
export function feedWatchdog(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
  tell: (error: unknown) => void,
): void {
  const periodMs = Number(env.WATCHDOG_USEC ?? 0) / 1000
  if (!(periodMs > 0) || (env.WATCHDOG_PID ?? String(pid)) !== String(pid)) return
  const feed = (): void => {
    try {
      notify('WATCHDOG=1')
    } catch (error) {
      tell(error)
    }
  }
  feed()
  setInterval(feed, periodMs / 2).unref()
}

function statusLine(text: string): string {
  return `STATUS=${text.replaceAll('\n', ' ')}`
}
