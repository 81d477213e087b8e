import { readFile, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { ask, newToken, scratch, TOKEN_HEADER } from '../harness/metabind.ts'
import { reloadPolicy } from '../harness/reload.ts'
import { traced } from '../harness/strace.ts'

/** What requests cost, in things that can be counted: no clock, so nothing else on the machine counts. */

const PATH = '/latest/meta-data/instance-id'
const CONNECTIONS = 50
const READS = 10_000
/** What was counted when this was written: whoever needs more says why. */
// User, groups and a pidfd.
const SOCKET_OPTIONS_MAX = 3
const NOTHING_NAMED = { files: 0, reads: 1.2, calls: 25 }
// Once each. One read more is the request.
const CALLER_NAMED = { files: 3, reads: 4.2, calls: 35 }
// 13,000, in which the compiler's own allocations are.
const ALLOCATED_BYTES_MAX = 20_000

// So long that what the requests before have left to do counts little.
const IDLE_MS = 10_000
// Three timers that run once a second: Node's, of each server, and how late the loop is.
const WAKINGS_PER_SECOND_MAX = 8

const stack = new AsyncDisposableStack()
let directory: string
let policyFile: string
let instance: Instance
let headers: Record<string, string>

// Beside the agent: at SIGUSR2 it writes what has been allocated on the heap so far.
const PROBE = `
const { getHeapStatistics } = require('node:v8')
const { writeFileSync, renameSync } = require('node:fs')
process.on('SIGUSR2', () => {
  writeFileSync(process.env.ALLOCATED + '.new', String(getHeapStatistics().total_allocated_bytes))
  renameSync(process.env.ALLOCATED + '.new', process.env.ALLOCATED)
})
`

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  await writeFile(join(directory, 'probe.cjs'), PROBE)
  const through = ['env', `ALLOCATED=${join(directory, 'allocated')}`]
  const program = [process.execPath, '--require', join(directory, 'probe.cjs'), 'src/daemon.ts']
  policyFile = join(directory, 'policy.toml')
  await writeFile(policyFile, '')
  const config = `[policy]\nfile = "${policyFile}"\n`
  const { path } = stack.use(await scratch())
  instance = await startInstance(path, { config, agent: { through, program } })
  stack.defer(() => instance.stop())
  headers = { [TOKEN_HEADER]: await newToken(instance) }
  await read()
})
afterAll(() => stack.disposeAsync())

async function read(agent?: Agent): Promise<void> {
  const { status } = await ask(instance.metadataSocket, 'GET', PATH, headers, agent)
  expect(status).toBe(200)
}

test.for<[string, string, typeof CALLER_NAMED]>([
  ['no rule names callers', '', NOTHING_NAMED],
  [
    'a rule names users',
    `[[rule]]\neffect = "allow"\nusers = [${process.getuid?.()}]\npaths = ["/**"]\n`,
    CALLER_NAMED,
  ],
  [
    'a rule names units',
    '[[rule]]\neffect = "allow"\nunits = ["app.service"]\npaths = ["/other"]\n',
    CALLER_NAMED,
  ],
])(
  'what a new connection asks of the kernel if %s is bounded',
  async ([_which, policy, most], context) => {
    await reload(policy)
    const pid = instance.agent.child.pid ?? 0
    const file = join(directory, 'strace')
    const lines = await traced(pid, 'all', file, async () => {
      for (let made = 0; made < CONNECTIONS; made += 1) await read(new Agent({ keepAlive: false }))
    })
    if (lines === undefined) return context.skip('strace cannot be used')
    const each = (call: RegExp) => lines.filter((line) => call.test(line)).length / CONNECTIONS
    expect(each(/^accept/)).toBe(1)
    expect(each(/^openat\(.*"\/proc/)).toBe(most.files)
    expect(each(/^(read|readv|pread64)\(/)).toBeLessThanOrEqual(most.reads)
    expect(each(/^getsockopt\(/)).toBeLessThanOrEqual(SOCKET_OPTIONS_MAX)
    expect(each(/^\w+\((?!.*FUTEX)/)).toBeLessThan(most.calls)
  },
)

test('an agent that nobody asks anything wakes a few times a second', async (context) => {
  const pid = instance.agent.child.pid ?? 0
  const file = join(directory, 'strace')
  const beganMs = performance.now()
  const lines = await traced(pid, 'epoll_wait,epoll_pwait', file, () => sleep(IDLE_MS))
  const seconds = (performance.now() - beganMs) / 1000
  if (lines === undefined) return context.skip('strace cannot be used')
  // A wait that another thread's came in between of has a second line, with its end.
  const ended = lines.filter((line) => !line.endsWith('<unfinished ...>'))
  const wakings = ended.filter((line) => !/, 0(?:, NULL, \d+)?\)\s+= /.test(line)).length
  expect(wakings).toBeLessThan(seconds * WAKINGS_PER_SECOND_MAX)
})

async function reload(policy: string): Promise<void> {
  const { msg } = await reloadPolicy(instance.agent, policyFile, policy)
  expect(msg).toMatch(/^configuration reloaded/)
}

test('what a cached read allocates is bounded', async () => {
  const keptAlive = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    for (let reads = 0; reads < 500; reads += 1) await read(keptAlive)
    const before = await allocatedBytes()
    for (let reads = 0; reads < READS; reads += 1) await read(keptAlive)
    const bytes = ((await allocatedBytes()) - before) / READS
    expect(bytes).toBeLessThan(ALLOCATED_BYTES_MAX)
  } finally {
    keptAlive.destroy()
  }
})

async function allocatedBytes(): Promise<number> {
  const file = join(directory, 'allocated')
  await writeFile(file, '')
  instance.agent.child.kill('SIGUSR2')
  for (;;) {
    const text = await readFile(file, 'utf8')
    if (text !== '') return Number(text)
    await sleep(5)
  }
}
