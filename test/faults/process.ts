import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { throughFalseClock } from '../harness/false-clock.ts'
import { makeMemoryCgroup } from '../harness/memory-cgroup.ts'
import type { Fault, Scene } from './fault.ts'

/** The agent's clock, its stopping and its memory. */

const LASTS_MS = 8000
/** Longer than any time that the agent waits for its TPM, its source or a caller. */
const STOPPED_MS = [2000, 35_000]
/** The wall clock is off by so much. */
const STEPS = ['+1h', '-1h', '+10y', '-10y']
const SMALL_BYTES = 24 * 2 ** 20

async function withClock(scene: Scene): Promise<void> {
  const { stage } = scene
  const file = join(stage.directory, 'clock')
  writeFileSync(file, '+0')
  // From here on only, as what root makes in /dev/shm the agent could not open.
  stage.launch.through = throughFalseClock({ file })
  await stage.kill()
  await stage.restarted()
  await scene.well(stage.endedAtMs)
  for (const step of STEPS) {
    writeFileSync(file, step)
    scene.made()
    await sleep(LASTS_MS)
    await scene.check()
    writeFileSync(file, '+0')
    await scene.well(performance.now())
    await scene.check()
  }
}

async function stopped(scene: Scene): Promise<void> {
  const { stage } = scene
  for (const stoppedMs of STOPPED_MS) {
    stage.agent.child.kill('SIGSTOP')
    scene.made()
    await sleep(stoppedMs)
    stage.agent.child.kill('SIGCONT')
    await scene.well(performance.now())
    await scene.check()
  }
}

/** The kernel ends whoever needs more, again and again, until there is more. */
async function outOfMemory(scene: Scene): Promise<void> {
  const { stage } = scene
  const name = `metabind-faults-${process.pid}`
  const cgroup = await makeMemoryCgroup(name, SMALL_BYTES)
  if (cgroup === undefined) {
    scene.wrong('not run: no cgroup with a bound on memory can be made')
    return
  }
  stage.launch.throughAsRoot = cgroup.prefix
  await stage.kill()
  scene.made()
  await sleep(LASTS_MS)
  if ((await cgroup.kills()) === 0) scene.wrong('nobody ran out of memory')
  stage.launch.throughAsRoot = []
  await scene.well(performance.now())
  await cgroup.remove()
}

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: 'clock',
    what: 'the wall clock is set forward and back, by an hour and by ten years, for eight seconds each, and right again',
    mayLose: true,
    make: withClock,
  },
  {
    name: 'stopped',
    what: 'SIGSTOP for 2 and for 35 seconds, longer than any timeout, then SIGCONT',
    make: stopped,
  },
  {
    name: 'memory',
    what: 'the cgroup has less memory than a start needs: the kernel ends each, until there is more',
    mayLose: true,
    make: outOfMemory,
  },
]
