import { setTimeout as sleep } from 'node:timers/promises'
import { leaveDescriptors } from '../harness/descriptors.ts'
import { asUser } from '../harness/networks.ts'
import { newCredentials, reload, revokeOne, rotate } from './actions.ts'
import type { Fault, Scene } from './fault.ts'
import { AGENT_UID, TPM_GROUP } from './stage.ts'
import { attachStrace, throughStrace } from './strace.ts'

/** No descriptor is left: at each call that wants one, and for a while. */

const LASTS_MS = 6000
const PLACES_MAX = 12
const STARTS_MAX = 260
const EMFILE = 'error=EMFILE'
/** What wants a descriptor while the agent runs. */
const CALLS = ['openat', 'accept4', 'socket', 'pidfd_open'] as const
/** Node opens so many files at least before the first line of the agent; without them it ends. */
const OPENED_BY_NODE = 130
const CHECKED_EVERY = 10

/** The N-th call of a kind in each thread fails, while everything is done that opens something. */
async function failsAt(scene: Scene, calls: string, when: number): Promise<void> {
  const { stage } = scene
  const { pid = 0 } = stage.agent.child
  {
    await using _strace = await attachStrace(pid, calls, EMFILE, String(when))
    await revokeOne(scene)
    await newCredentials(scene)
    reload(scene)
    rotate(scene)
    await sleep(500)
  }
  scene.made()
  await scene.well(performance.now())
  if (when % CHECKED_EVERY === 0) await scene.check()
  scene.keep()
}

async function startFailsAt(scene: Scene, calls: string, when: number): Promise<boolean> {
  const { stage } = scene
  stage.launch.through = throughStrace(calls, EMFILE, String(when))
  const restarted = stage.restarted()
  await stage.kill()
  await restarted
  stage.launch.through = []
  scene.made()
  await scene.well(stage.endedAtMs)
  if (when % CHECKED_EVERY === 0) await scene.check()
  scene.keep()
  return when < STARTS_MAX
}

export const DESCRIPTOR_FAULTS: readonly Fault[] = [
  {
    name: 'descriptors-each',
    what: `EMFILE at the first to ${PLACES_MAX}th call of a thread that wants a descriptor (${CALLS.join(', ')}), while the agent answers, revokes, reloads, rotates and reads new credentials`,
    mayLose: true,
    make: async (scene) => {
      for (const calls of CALLS) {
        for (let when = 1; when <= PLACES_MAX; when += 1) await failsAt(scene, calls, when)
      }
    },
  },
  {
    name: 'descriptors-boot',
    what: 'EMFILE at each file that a start opens after those of Node itself, and at each socket',
    mayLose: true,
    mayEnd: /./,
    make: async (scene) => {
      for (let when = OPENED_BY_NODE; when < OPENED_BY_NODE + 50; when += 1) {
        await startFailsAt(scene, 'openat', when)
      }
      for (let when = 1; when < 30; when += 1) await startFailsAt(scene, 'socket', when)
    },
  },
  {
    name: 'descriptors-gone',
    what: 'the agent may open no descriptor, one or three more, for six seconds each, while callers come and go',
    mayLose: true,
    make: async (scene) => {
      const { stage } = scene
      const { pid = 0 } = stage.agent.child
      for (const spare of [0, 1, 3]) {
        {
          using _few = leaveDescriptors(pid, spare, asUser(AGENT_UID, TPM_GROUP))
          scene.made()
          await revokeOne(scene)
          reload(scene)
          rotate(scene)
          await sleep(LASTS_MS)
        }
        await scene.well(performance.now())
        await scene.check()
      }
    },
  },
]
