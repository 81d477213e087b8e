import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { chown, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { newCredentials, reload, revokeAll, revokeOne, rotate } from './actions.ts'
import type { Fault, Scene } from './fault.ts'
import { AGENT_UID } from './stage.ts'

/** Disks that are full, that cannot be written, or whose directory is gone, below each directory of the agent. */

const LASTS_MS = 6000
const PLACES = ['run', 'state', 'log'] as const
type Place = (typeof PLACES)[number]

/** What cannot be written ends a start; it is tried again. */
const MAY_END = /A directory|cannot be (read or )?written|no space|read-only/i

interface Trouble {
  begin(directory: string): void
  end(directory: string): void
}

const FULL: Trouble = {
  begin: (directory) => {
    execFileSync('sh', ['-c', 'cat /dev/zero > "$1/filler" || :', 'sh', directory], {
      stdio: 'ignore',
    })
  },
  end: (directory) => rmSync(join(directory, 'filler')),
}

const NO_INODES: Trouble = {
  begin: (directory) => {
    mkdirSync(join(directory, 'fillers'))
    try {
      for (let made = 0; ; made += 1) writeFileSync(join(directory, 'fillers', `${made}`), '')
    } catch {
      // There are no more.
    }
  },
  end: (directory) => rmSync(join(directory, 'fillers'), { recursive: true }),
}

const READ_ONLY: Trouble = {
  // As the kernel does on errors, although files are open for writing: those go on, and no other can be opened.
  begin: (directory) => {
    execFileSync('mount', ['--bind', directory, directory])
    execFileSync('mount', ['-o', 'remount,bind,ro', directory])
  },
  end: (directory) => execFileSync('umount', ['--lazy', directory]),
}

/** Does everything that writes while the trouble lasts, then starts an agent in it. */
async function inTrouble(scene: Scene, place: Place, trouble: Trouble): Promise<void> {
  const { stage, audience } = scene
  const directory = join(stage.directory, place)
  for (const isStarting of [false, true]) {
    trouble.begin(directory)
    scene.made()
    if (isStarting) await stage.kill()
    else await doEverything(scene)
    await sleep(LASTS_MS)
    trouble.end(directory)
    await scene.well(performance.now())
    await audience.learn()
    await scene.check()
    scene.keep()
  }
}

async function doEverything(scene: Scene): Promise<void> {
  await revokeOne(scene)
  await newCredentials(scene)
  reload(scene)
  rotate(scene)
  await sleep(500)
  await revokeAll(scene)
}

function disk(name: string, what: string, trouble: Trouble): Fault {
  return {
    name: `disk-${name}`,
    what: `${what} below the runtime directory, the state directory and the audit file, while the agent runs, revokes, reloads and rotates, and while it starts`,
    disks: PLACES,
    mayLose: true,
    mayEnd: MAY_END,
    make: async (scene) => {
      for (const place of PLACES) await inTrouble(scene, place, trouble)
    },
  }
}

export const DISK_FAULTS: readonly Fault[] = [
  disk('full', 'no space is left', FULL),
  disk('no-inodes', 'no file can be made', NO_INODES),
  disk('read-only', 'the disk is read-only', READ_ONLY),
  {
    name: 'runtime-deleted',
    what: 'the runtime directory is deleted under the agent; at its next start, for which systemd makes it again, all tokens are over',
    mayLose: true,
    make: async (scene) => {
      const { stage, audience } = scene
      const directory = join(stage.directory, 'run')
      await rm(directory, { recursive: true })
      scene.made()
      await doEverything(scene)
      await sleep(LASTS_MS)
      await scene.well(performance.now())
      const fromMs = bootTimeMs()
      await stage.kill()
      await mkdir(directory, { mode: 0o755 })
      await chown(directory, AGENT_UID, AGENT_UID)
      await stage.restarted()
      audience.ledger.revokeAll(fromMs, bootTimeMs())
      await scene.well(stage.endedAtMs)
    },
  },
]
