import { setTimeout as sleep } from 'node:timers/promises'
import type { Meddler } from '../../native/tpm2-js/test/faulting-proxy.ts'
import type { Fault, Scene } from './fault.ts'

/** Each response of a start, altered on the wire: the first in one start, the second in the next, and so on. */

const CHECKED_EVERY = 10
const LATE_MS = 1500
const HEADER_BYTES = 10

type Alter = (response: Buffer, before: Buffer) => Promise<Buffer>

/** Flips a bit in the middle of what follows the header, or of the response code if nothing does. */
const corrupted: Alter = async (response) => {
  const altered = Buffer.from(response)
  const at = Math.floor((HEADER_BYTES + altered.length) / 2)
  const place = Math.min(at, altered.length - 1)
  altered.writeUInt8(altered.readUInt8(place) ^ 0x10, place)
  return altered
}

const ALTERED: readonly (readonly [string, string, Alter])[] = [
  ['corrupted', 'with a bit flipped in its middle', corrupted],
  [
    'truncated',
    'cut to half, with its size corrected',
    async (response) => {
      const half = Buffer.from(response.subarray(0, Math.max(HEADER_BYTES, response.length >> 1)))
      half.writeUInt32BE(half.length, 2)
      return half
    },
  ],
  ['replayed', 'replaced by the one before it', async (_response, before) => before],
  [
    'delayed',
    'one and a half seconds late',
    async (response) => {
      await sleep(LATE_MS)
      return response
    },
  ],
]

/** @returns whether the start had so many responses */
async function startsAltered(scene: Scene, at: number, alter: Alter): Promise<boolean> {
  const { stage } = scene
  let count = 0
  let before = Buffer.alloc(0)
  const meddler: Meddler = async (asked, ask) => {
    count += 1
    const isThis = count === at
    const response = await ask(asked)
    const answered = isThis ? await alter(response, before) : response
    before = Buffer.from(response)
    return answered
  }
  await stage.kill()
  stage.wire.meddle(meddler)
  await stage.restarted()
  // Later ones are of the agent that runs. One that ends by itself is found elsewhere.
  const reached = () => count >= at
  const isReached = await stage.agent.ready().then(reached, reached)
  if (!isReached) stage.wire.heal()
  if (!isReached) return false
  scene.made()
  await scene.well(stage.endedAtMs)
  stage.wire.heal()
  if (at % CHECKED_EVERY === 0) await scene.check()
  scene.keep()
  return true
}

export const TPM_BOOT_FAULTS: readonly Fault[] = ALTERED.map(([name, how, alter]) => ({
  name: `tpm-boot-${name}`,
  what: `each response of the TPM to a start, one in each, ${how}`,
  mayLose: true,
  make: async (scene) => {
    const first = name === 'replayed' ? 2 : 1
    for (let at = first; await startsAltered(scene, at, alter); at += 1);
  },
}))
