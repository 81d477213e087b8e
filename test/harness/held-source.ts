import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** A metadata service over HTTP that gives tokens at once, and any other answer when it is told to. */
export interface HeldSource extends AsyncDisposable {
  readonly url: string
  /** What is asked and not answered, in the order of asking. */
  readonly held: readonly HeldRequest[]
  /** How many requests there were but those for tokens. */
  readonly asked: number
  /** Resolves when there have been so many. */
  untilAsked(count: number): Promise<void>
}

interface HeldRequest {
  readonly target: string
  answer(status: number, body?: string): void
}

/** @param atOnce what of a target is answered without being told to; undefined: nothing */
export async function heldSource(
  atOnce: (target: string) => string | undefined = () => undefined,
): Promise<HeldSource> {
  let held: HeldRequest[] = []
  let asked = 0
  const hold = (target: string, response: ServerResponse) => {
    const one: HeldRequest = {
      target,
      answer: (status, body = '') => {
        held = held.filter((other) => other !== one)
        response.writeHead(status, { 'content-type': 'text/plain' }).end(body)
      },
    }
    asked += 1
    held.push(one)
    // Whoever gave up has nothing to wait for.
    response.on('close', () => (held = held.filter((other) => other !== one)))
  }
  const server = createServer(({ method, url = '' }, response) => {
    const known = method === 'PUT' ? 'a-token' : atOnce(url)
    if (known === undefined) hold(url, response)
    else response.end(known)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get held() {
      return held
    },
    get asked() {
      return asked
    },
    untilAsked: async (count) => {
      while (asked < count) await setImmediate()
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
