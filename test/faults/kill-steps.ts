import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { newCredentials, reload, revokeAll, revokeOne, rotate } from './actions.ts'
import type { Fault, Scene } from './fault.ts'
import { USERS, until } from './stage.ts'
import { attachStrace, throughStrace } from './strace.ts'

/**
 * SIGKILL at every step: before the first system call of a kind that changes something, before the second,
 * and so on, until the step is through without one.
 */

const READY_MS = 60_000
const SETTLED_MS = 700
const CALLS_MAX = 400
/** What changes a file, or is seen by somebody else. */
const CALLS = [
  ...['fsync', 'rename', 'link', 'unlink', 'ftruncate', 'flock', 'pwrite64', 'openat', 'write'],
  ...['writev', 'sendto', 'connect'],
]
// Node itself opens so many files at least, before the first line of the agent.
const OPENED_BY_NODE = 130

/** @param act one step; what it makes callers see is judged, and its end is not waited for */
function killedAtEach(
  name: string,
  what: string,
  act: (scene: Scene) => unknown,
  config?: string,
): Fault {
  return {
    name: `kill-${name}`,
    what: `SIGKILL before each system call of ${what}: the first of a kind, the second, …`,
    mayLose: true,
    ...(config === undefined ? {} : { config }),
    make: async (scene) => {
      for (const calls of CALLS) {
        for (let when = 1; await isKilledIn(scene, act, calls, when); when += 1) scene.keep()
      }
    },
  }
}

/** @returns whether there was an N-th call of the kind */
async function isKilledIn(
  scene: Scene,
  act: (scene: Scene) => unknown,
  calls: string,
  when: number,
): Promise<boolean> {
  const { stage, audience } = scene
  // Their answers are such calls, too.
  await audience.pause()
  const { agent } = stage
  const isOver = () => agent.child.exitCode !== null || agent.child.signalCode !== null
  {
    await using _strace = await attachStrace(
      agent.child.pid ?? 0,
      calls,
      'signal=KILL',
      String(when),
    )
    await Promise.race([act(scene), until(isOver, READY_MS)])
    for (let waited = 0; waited < SETTLED_MS && !isOver(); waited += 50) await sleep(50)
  }
  audience.begin()
  if (!isOver()) return false
  scene.made()
  await scene.well(stage.endedAtMs)
  await scene.check()
  return when < CALLS_MAX
}

export const KILLED_AT_STEPS: readonly Fault[] = [
  {
    name: 'kill-boot',
    what: 'SIGKILL before each system call of a start that changes something: the first of a kind, the second, …',
    mayLose: true,
    make: async (scene) => {
      for (const calls of CALLS) {
        const first = calls === 'openat' ? OPENED_BY_NODE : 1
        for (let when = first; await isKilledInBoot(scene, calls, when); when += 1) scene.keep()
      }
    },
  },
  {
    name: 'kill-first-boot',
    what: 'the same at the first start of a boot, which makes the salt: the runtime directory is emptied before each',
    mayLose: true,
    make: async (scene) => {
      for (const calls of ['fsync', 'rename', 'link', 'unlink']) {
        for (let when = 1; await isKilledInBoot(scene, calls, when, true); when += 1) scene.keep()
      }
    },
  },
  killedAtEach('token', 'the making of a session token, and of its audit record', ({ audience }) =>
    audience.token(USERS.other, 3600),
  ),
  killedAtEach(
    'refresh',
    'a refresh: the token keys proved anew, new credentials of the role read, kept and given',
    async (scene) => {
      await newCredentials(scene)
      await sleep(2500)
    },
  ),
  killedAtEach('reload', 'a reload of the configuration', reload),
  killedAtEach('revoke', 'the revocation of one token', revokeOne),
  killedAtEach('revoke-all', 'the revocation of all tokens', revokeAll),
  killedAtEach('rotate', 'the audit file, rotated', rotate),
]

async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name))
}

async function isKilledInBoot(
  scene: Scene,
  calls: string,
  when: number,
  isFirst = false,
): Promise<boolean> {
  const { stage, audience } = scene
  stage.launch.through = throughStrace(calls, 'signal=KILL', String(when))
  const restarted = stage.restarted()
  const fromMs = bootTimeMs()
  await stage.kill()
  if (isFirst) await emptyDirectory(join(stage.directory, 'run'))
  await restarted
  if (isFirst) audience.ledger.revokeAll(fromMs, bootTimeMs())
  stage.launch.through = []
  const { agent } = stage
  const isReady = await agent.ready().then(
    () => true,
    () => false,
  )
  if (isReady) return false
  scene.made()
  await scene.well(stage.endedAtMs)
  await scene.check()
  return when < CALLS_MAX
}
