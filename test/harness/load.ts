import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a number of clients met. */
interface LoadReport {
  readonly answered: number
  /** Everything but a 200: statuses and socket errors, with how often. */
  readonly failures: Readonly<Record<string, number>>
}

export interface Load {
  /** How many requests were answered so far. */
  answered(): number
  /** Ends the clients when their last request is answered. */
  stop(): Promise<LoadReport>
}

export interface LoadOptions {
  readonly socketPath: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Clients that keep one connection, and clients that make one a request. */
  readonly keepAlive: number
  readonly fresh: number
  /** Between two requests of a client; none for as many as it can. */
  readonly pauseMs: number
  /** What is not answered by then counts as lost (default 60,000). */
  readonly answerMsMax?: number
}

const ANSWER_MS_MAX = 60_000
/** For so long a kept connection outlives its last answer (QUIET_MS of src/http/graceful-close.ts). */
const QUIET_MS = 1000
const KEPT = ' of a kept connection'
/** A write to a kept connection whose other end is closed. */
const ENDED = [`EPIPE${KEPT}`, `ECONNRESET${KEPT}`]

export function startLoad(options: LoadOptions): Load {
  let answered = 0
  let ending = false
  const failures: Record<string, number> = {}
  const client = async (agent: Agent): Promise<void> => {
    let askedMs = performance.now()
    while (!ending) {
      const beforeMs = askedMs
      askedMs = performance.now()
      const outcome = await ask(options, agent)
      // On a busy machine a client may hear late of its last answer, or rest for longer than it means to; then its connection
      // may end under its hands. The agent cannot have answered before it was asked.
      const isLate = performance.now() - beforeMs >= QUIET_MS && ENDED.includes(outcome)
      if (outcome === '200') answered += 1
      else if (!isLate) failures[outcome] = (failures[outcome] ?? 0) + 1
      if (options.pauseMs > 0) await sleep(options.pauseMs)
    }
    agent.destroy()
  }
  const clients = [
    ...Array.from({ length: options.keepAlive }, () => client(new Agent({ keepAlive: true }))),
    ...Array.from({ length: options.fresh }, () => client(new Agent({ keepAlive: false }))),
  ]
  return {
    answered: () => answered,
    stop: async () => {
      ending = true
      await Promise.all(clients)
      return { answered, failures }
    },
  }
}

/** @returns the status, or the code of the error; nothing is tried twice */
function ask(options: LoadOptions, agent: Agent): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const { socketPath, path, headers, answerMsMax: timeout = ANSWER_MS_MAX } = options
  const sent = request({ socketPath, path, headers, agent, timeout }, (answer) => {
    answer.resume()
    answer.on('end', () => resolve(String(answer.statusCode)))
    answer.on('error', (error) => resolve(error.message))
  })
  sent.on('timeout', () => sent.destroy(new Error('no answer')))
  sent.on('error', (error) => {
    const what = 'code' in error ? String(error.code) : error.message
    resolve(`${what}${sent.reusedSocket ? KEPT : ''}`)
  })
  sent.end()
  return promise
}
