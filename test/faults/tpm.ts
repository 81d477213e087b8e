import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { COMMANDS, type Meddler } from '../../native/tpm2-js/test/faulting-proxy.ts'
import type { Fault, Scene } from './fault.ts'

/** A TPM that is away, slow, another one, full or broken, while the agent runs and while it starts. */

const LASTS_MS = 8000
const SLOW_MS = 250
const LOCKOUT = 0x921
const FAILURE = 0x101

/** Lets something last while the agent runs, and again over its next start. */
async function lasting(scene: Scene, begin: () => void, end: () => void): Promise<void> {
  for (const isStarting of [false, true]) {
    if (isStarting) await scene.stage.kill()
    begin()
    scene.made()
    await sleep(LASTS_MS)
    end()
    await scene.well(performance.now())
    await scene.check()
  }
}

function wire(name: string, what: string, meddler: Meddler): Fault {
  return {
    name: `tpm-${name}`,
    what: `${what} for eight seconds, while it runs and while it starts`,
    mayLose: true,
    make: (scene) => {
      const { wire: between } = scene.stage
      return lasting(
        scene,
        () => between.meddle(meddler),
        () => between.heal(),
      )
    },
  }
}

const refused =
  (code: number): Meddler =>
  async () => {
    const response = Buffer.alloc(10)
    response.writeUInt16BE(0x8001, 0)
    response.writeUInt32BE(response.length, 2)
    response.writeUInt32BE(code, 6)
    return response
  }

const codeOf = (command: Buffer) => (command.length < 10 ? 0 : command.readUInt32BE(6))

/** Loads as many objects or sessions as there is room for, by the agent's own commands, and leaves them. */
function filling(command: 'CreatePrimary' | 'StartAuthSession'): Meddler {
  let filled = 0
  return async (asked, ask) => {
    if (codeOf(asked) === COMMANDS[command] && filled < 2) {
      filled += 1
      for (let made = 0; made < 70; made += 1) {
        if ((await ask(asked)).readUInt32BE(6) !== 0) break
      }
    }
    return ask(asked)
  }
}

/** Other keys from here on: until somebody restarts the agent it refuses, and all tokens are over after that. */
async function isAnother(scene: Scene, change: () => Promise<void>): Promise<void> {
  const { stage, audience } = scene
  const fromMs = bootTimeMs()
  await change()
  scene.made()
  await stage.agent.until(({ msg }) => msg === 'agent.stopped')
  await sleep(LASTS_MS)
  if (stage.agent.records.some(({ msg }) => msg === 'agent.resumed')) scene.wrong('it resumed')
  await stage.kill()
  await stage.restarted()
  audience.ledger.revokeAll(fromMs, bootTimeMs())
  await scene.well(stage.endedAtMs)
}

export const TPM_FAULTS: readonly Fault[] = [
  wire('gone', 'the TPM is not there: its connection ends at each command', async () => undefined),
  wire('slow', 'each response of the TPM comes a quarter of a second late', async (asked, ask) => {
    await sleep(SLOW_MS)
    return ask(asked)
  }),
  {
    name: 'tpm-silent',
    what: 'the TPM accepts commands and does not answer for eight seconds, which is longer than it may take: the agent ends itself and is started again',
    config: 'tpm.command_timeout_ms = 1000\n',
    mayLose: true,
    mayEnd: /The TPM has stopped answering/,
    make: (scene) => {
      const { tpm } = scene.stage.instance
      return lasting(scene, tpm.pause, tpm.resume)
    },
  },
  {
    name: 'tpm-reset',
    what: 'the TPM is reset under the agent, which refuses until it is restarted; all tokens are over then, as after a reboot',
    mayLose: true,
    make: (scene) => isAnother(scene, scene.stage.instance.tpm.reset),
  },
  {
    name: 'tpm-replaced',
    what: 'another TPM is in its place; as above',
    mayLose: true,
    make: (scene) =>
      isAnother(scene, async () => {
        const { tpm } = scene.stage.instance
        await tpm.kill()
        await rm(join(tpm.dir, 'tpm2-00.permall'))
        await tpm.start()
      }),
  },
  wire('full-of-objects', 'others fill the TPM with loaded objects', filling('CreatePrimary')),
  wire('full-of-sessions', 'others fill the TPM with sessions', filling('StartAuthSession')),
  wire('in-lockout', 'the TPM answers each command with TPM_RC_LOCKOUT', refused(LOCKOUT)),
  wire('in-failure-mode', 'the TPM answers each command with TPM_RC_FAILURE', refused(FAILURE)),
]
