import { Agent } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startInstance } from '../harness/instance.ts'
import { ask, newToken, scratch, TOKEN_HEADER } from '../harness/metabind.ts'
import { traced } from '../harness/strace.ts'

/** What a read that the cache answers costs, counted by the kernel and not by a clock. */

const READS = 500
const PATH = '/latest/meta-data/instance-id'
// Of the agent's own: what comes in from the signal that strace attaches with, and once a second.
const SPARE = 20

test('a read that is cached is one read and one write', async (context) => {
  await using stack = new AsyncDisposableStack()
  const { path } = stack.use(await scratch())
  const instance = await startInstance(path)
  stack.defer(() => instance.stop())
  const keptAlive = new Agent({ keepAlive: true, maxSockets: 1 })
  stack.defer(() => keptAlive.destroy())
  const headers = { [TOKEN_HEADER]: await newToken(instance) }
  const read = () => ask(instance.metadataSocket, 'GET', PATH, headers, keptAlive)
  expect((await read()).status).toBe(200)

  const calls = 'read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg'
  const pid = instance.agent.child.pid ?? 0
  const lines = await traced(pid, calls, join(path, 'strace'), async () => {
    for (let reads = 0; reads < READS; reads += 1) await read()
  })
  if (lines === undefined) return context.skip('strace cannot be used')
  const of = (names: RegExp) => lines.filter((line) => names.test(line)).length
  expect(of(/^write\(\d+, "HTTP/)).toBe(READS)
  expect(of(/^(writev|sendto|sendmsg)\(\d+, .*HTTP/)).toBe(0)
  expect(of(/^(read|readv|recvfrom|recvmsg)\(\d+, "GET/)).toBe(READS)
  expect(of(/^\w+\(/)).toBeLessThan(2 * READS + SPARE)
})
