import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { makeToken, readMetadata } from '../../src/client.ts'
import { holdSockets } from '../harness/held-sockets.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { startLoad } from '../harness/load.ts'

const RESTARTS = 10
/** By each of the loads, between two restarts. */
const ANSWERED_BETWEEN = 50
const TOKEN_HEADER = 'x-aliyun-ecs-metadata-token'

async function activatedInstance(): Promise<Instance> {
  const directory = await mkdtemp('/tmp/metabind-held-')
  const held = holdSockets({
    metadata: join(directory, 'metadata.sock'),
    admin: join(directory, 'admin.sock'),
  })
  const instance = await startInstance(directory, { agent: held.agent })
  onTestFinished(async () => {
    await instance.stop()
    held.close()
    await rm(directory, { recursive: true, force: true })
  })
  return instance
}

function socketsOf(instance: Instance) {
  return { metadata: instance.metadataSocket, admin: instance.adminSocket }
}

/** Processes that do nothing but take the processors from agent and clients. */
function busyLoops(count: number): void {
  const loops = Array.from({ length: count }, () => spawn('sh', ['-c', 'while :; do :; done']))
  onTestFinished(() => {
    for (const loop of loops) loop.kill('SIGKILL')
  })
}

test('restarts under load lose no request, refuse no connection and break no token', {
  timeout: 600_000,
}, async () => {
  const instance = await activatedInstance()
  const token = await makeToken(socketsOf(instance), '600')
  const asking = {
    socketPath: instance.metadataSocket,
    path: '/latest/meta-data/instance-id',
    headers: { [TOKEN_HEADER]: token.reveal() },
  }
  busyLoops(2)
  const loads = [
    startLoad({ ...asking, keepAlive: 16, fresh: 4, pauseMs: 0 }),
    // At rest for longer than any moment that an ending agent could guess at.
    startLoad({ ...asking, keepAlive: 16, fresh: 4, pauseMs: 400 }),
  ]
  for (let restarts = 0; restarts < RESTARTS; restarts += 1) {
    for (const load of loads) {
      const enough = load.answered() + ANSWERED_BETWEEN
      await expect.poll(load.answered).toBeGreaterThanOrEqual(enough)
    }
    await instance.restartAgent()
  }
  const reports = await Promise.all(loads.map((load) => load.stop()))
  const answered = reports.reduce((sum, report) => sum + report.answered, 0)
  process.stderr.write(`restarts under load: ${answered} requests answered\n`)
  expect(reports.map(({ failures }) => failures)).toEqual([{}, {}])
})

test('callers of a held socket wait for the agent, across a kill', async () => {
  const instance = await activatedInstance()
  const token = await makeToken(socketsOf(instance), '600')
  await instance.agent.stop('SIGKILL')
  const waiting = readMetadata(socketsOf(instance), '/latest/meta-data/region-id', token)
  await instance.restartAgent()
  expect((await waiting).body.toString()).toBe('cn-hangzhou')
})

test('the path of a held socket is not removed when the agent ends', async () => {
  const instance = await activatedInstance()
  expect(await instance.agent.stop()).toBe(0)
  expect(existsSync(instance.metadataSocket)).toBe(true)
  expect(existsSync(instance.adminSocket)).toBe(true)
})
