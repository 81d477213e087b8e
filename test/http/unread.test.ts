import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { httpBounds } from '../../src/agent/settings.ts'
import { parseConfig } from '../../src/config.ts'
import { guardConnections } from '../../src/http/admission.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const ANSWER = Buffer.alloc(400_000, 'x')
const BOUNDS = { ...httpBounds(parseConfig([])), requestTimeoutMs: 1000 }

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let server: Server
let peers: Socket[]

beforeEach(async () => {
  scratch = await scratchDirectory()
  peers = []
  server = createServer((_request, response) => response.end(ANSWER))
  guardConnections(server, BOUNDS, () => undefined)
  server.listen(`${scratch.path}/s`)
  await once(server, 'listening')
})

afterEach(async () => {
  for (const peer of peers) peer.destroy()
  server.close()
  await scratch[Symbol.asyncDispose]()
})

/** A peer that asks and does not read by itself, and the server's end of it. */
async function ask(): Promise<{ peer: Socket; own: Socket }> {
  const accepted = once(server, 'connection')
  const peer = connect(`${scratch.path}/s`)
  peers.push(peer)
  peer.pause()
  peer.on('error', () => undefined)
  peer.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const [own] = await accepted
  return { peer, own }
}

test('a connection whose answers nobody reads is closed; one that is read slowly, and one at rest, stay', async () => {
  const silent = await ask()
  const resting = await ask()
  const slow = await ask()
  resting.peer.resume()
  let received = 0
  const read = (): void => {
    const chunk: Buffer | null = slow.peer.read()
    received += chunk?.length ?? 0
  }
  // For longer than it takes the server to give up the silent one.
  while (!silent.own.destroyed) {
    read()
    await sleep(300)
  }
  while (received < ANSWER.length) {
    read()
    await sleep(1)
  }
  expect([silent, resting, slow].map(({ own }) => own.destroyed)).toEqual([true, false, false])
})
