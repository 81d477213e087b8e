import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault as SourceFault } from '../../src/simulate/faults.ts'
import { PATHS } from './audience.ts'
import type { Fault, Scene } from './fault.ts'
import { CREDENTIALS } from './stage.ts'

/** A metadata service that is away, slow or wrong: while the agent runs, over a start, and back again. */

const LASTS_MS = 8000

/** @param faults what the service does, one after the other */
function source(name: string, what: string, faults: readonly SourceFault[]): Fault {
  return {
    name: `source-${name}`,
    what: `${what}, for eight seconds each, while the agent runs and while it starts`,
    mayLose: true,
    make: async (scene) => {
      for (const fault of faults) {
        await lasting(scene, fault, false)
        await lasting(scene, fault, true)
      }
    },
  }
}

async function lasting(scene: Scene, fault: SourceFault, isStarting: boolean): Promise<void> {
  const { stage } = scene
  // The credentials that come after it are others: old ones must not stay.
  if (!isStarting) stage.cloud.rotateCredentials()
  if (!isStarting) await scene.audience.learn()
  if (isStarting) await stage.kill()
  stage.cloud.faults.set(fault)
  scene.made()
  await sleep(LASTS_MS)
  stage.cloud.faults.clear()
  await scene.well(performance.now())
  await scene.check()
  scene.keep()
}

export const SOURCE_FAULTS: readonly Fault[] = [
  source('gone', 'the source ends connections without an answer, by FIN and by RST', [
    { kind: 'reset', by: 'fin' },
    { kind: 'reset', by: 'rst' },
  ]),
  source('silent', 'the source accepts requests and sends nothing, or half an answer', [
    { kind: 'stall', at: 'headers' },
    { kind: 'stall', at: 'body' },
  ]),
  source('slow', 'the source answers half a second and three seconds late', [
    { kind: 'latency', ms: 500 },
    { kind: 'latency', ms: 3000 },
  ]),
  source(
    'wrong-status',
    'the source answers with 500, 503, 429, 401 and 403',
    [500, 503, 429, 401, 403].map((code) => ({ kind: 'status', code, body: 'no' }) as const),
  ),
  source('truncated', 'the source sends less than it says', [{ kind: 'truncate' }]),
  source('wrong-bytes', 'the source sends what is no HTTP, or more than an answer may be', [
    { kind: 'garbage', at: 'response' },
    { kind: 'oversize' },
    { kind: 'oversize', framing: 'chunked' },
  ]),
  source(
    'wrong-credentials',
    'the source gives credentials that have expired, lack a member, or say a code that is no success',
    [
      { kind: 'credentials', expired: true },
      { kind: 'credentials', missing: 'SecurityToken' },
      { kind: 'credentials', missing: 'Expiration' },
      { kind: 'garbage', at: 'body', path: CREDENTIALS },
      { kind: 'empty', path: CREDENTIALS },
    ],
  ),
  source(
    'wrong-id',
    'the source gives bytes at random, or none, for what stays the same for a whole boot',
    [
      { kind: 'garbage', at: 'body', path: PATHS[0] },
      { kind: 'empty', path: PATHS[0] },
    ],
  ),
  source('forgetful', 'the source forgets all of its own tokens at each request', [
    { kind: 'reject-tokens' },
  ]),
]
