import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startInstance } from '../harness/instance.ts'
import { ask, newToken, scratch, TOKEN_HEADER } from '../harness/metabind.ts'

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

  const counts = join(path, 'strace')
  const pid = String(instance.agent.child.pid)
  const calls = 'trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg'
  const strace = spawn('strace', ['-o', counts, '-e', calls, '-p', pid])
  const said: string[] = []
  strace.stderr.on('data', (text) => said.push(String(text)))
  const ended = Promise.withResolvers<unknown>()
  strace.once('error', ended.resolve).once('close', ended.resolve)
  const isAttached = () => said.join('').includes('attached')
  while (!isAttached() && strace.exitCode === null && strace.pid !== undefined) await sleep(10)
  if (!isAttached()) return context.skip(`strace cannot be used: ${said.join('')}`)

  for (let reads = 0; reads < READS; reads += 1) await read()
  strace.kill('SIGINT')
  await ended.promise

  const lines = (await readFile(counts, 'utf8')).split('\n')
  const of = (names: RegExp) => lines.filter((line) => names.test(line)).length
  expect(of(/^write\(\d+, "HTTP/)).toBe(READS)
  expect(of(/^(writev|sendto|sendmsg)\(\d+, .*HTTP/)).toBe(0)
  expect(of(/^(read|readv|recvfrom|recvmsg)\(\d+, "GET/)).toBe(READS)
  expect(of(/^\w+\(/)).toBeLessThan(2 * READS + SPARE)
})
