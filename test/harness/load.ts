import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a number of clients met. */
interface LoadReport {
  readonly answered: number
  /** Everything but a 200: statuses and socket errors, with how often. */
  readonly failures: Readonly<Record<string, number>>
}

export interface Load {
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

export function startLoad(options: LoadOptions): Load {
  let answered = 0
  let ending = false
  const failures: Record<string, number> = {}
  const client = async (agent: Agent): Promise<void> => {
    while (!ending) {
      const outcome = await ask(options, agent)
      if (outcome === '200') answered += 1
      else failures[outcome] = (failures[outcome] ?? 0) + 1
      if (options.pauseMs > 0) await sleep(options.pauseMs)
    }
    agent.destroy()
  }
  const clients = [
    ...Array.from({ length: options.keepAlive }, () => client(new Agent({ keepAlive: true }))),
    ...Array.from({ length: options.fresh }, () => client(new Agent({ keepAlive: false }))),
  ]
  return {
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
  sent.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
  sent.end()
  return promise
}
