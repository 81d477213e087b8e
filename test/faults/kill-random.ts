import { setTimeout as sleep } from 'node:timers/promises'
import { newCredentials, reload, revokeAll, revokeOne, rotate } from './actions.ts'
import type { Fault, Scene } from './fault.ts'

/** SIGKILL whenever it comes, under load, while things are revoked, reloaded and rotated. */

const TIMES = 1000
const WITHIN_MS = 2000
const CHECKED_EVERY = 25
// Rarely: no token outlives it.
const REVOKES_ALL_ONE_IN = 20

export const KILLED_AT_RANDOM: Fault = {
  name: 'random-kill',
  what: 'SIGKILL at random, every other time within two seconds of its start, else later, while tokens are revoked, the policy is reloaded and audit files rotate',
  mayLose: true,
  // Node takes signals over a moment after its start; until then they end it, and it is started again.
  mayEnd: /^SIG(HUP|USR1): /,
  isLong: true,
  make: async (scene) => {
    const { stage, times = TIMES } = scene
    for (let killed = 1; killed <= times; killed += 1) {
      const restarted = stage.restarted()
      const [atMs] = await Promise.all([killLater(scene, killed % 2 === 0), disturb(scene)])
      scene.made()
      await restarted
      if (killed % CHECKED_EVERY !== 0) continue
      await scene.well(atMs)
      await scene.check()
      scene.keep()
      process.stdout.write(`${killed}\n`)
    }
  },
}

/** @returns when the agent was killed */
async function killLater({ stage }: Scene, isReady: boolean): Promise<number> {
  // One that ends by itself before is found elsewhere.
  if (isReady) await stage.agent.ready().catch(() => undefined)
  await sleep(Math.random() * WITHIN_MS)
  const atMs = performance.now()
  await stage.kill()
  return atMs
}

/** One thing that changes what is kept, at a moment of its own. */
async function disturb(scene: Scene): Promise<void> {
  await sleep(Math.random() * WITHIN_MS)
  const isAllRevoked = Math.random() < 1 / REVOKES_ALL_ONE_IN
  const actions = isAllRevoked ? [revokeAll] : [revokeOne, reload, rotate, newCredentials]
  await actions[Math.floor(Math.random() * actions.length)]?.(scene)
}
