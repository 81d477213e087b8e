import { setTimeout as sleep } from 'node:timers/promises'
import type { Dialect } from '../dialect/dialect.ts'
import { MetabindError } from '../errors.ts'
import type { Metadata } from '../metadata/metadata.ts'
import { readInstanceId } from './startup-deps.ts'
import { backoffMs } from './startup-retry.ts'

/**
 * The source was down at start: when it answers, it has to name the instance that was kept.
 *
 * @throws MetabindError SOURCE_OTHER; AbortError when the agent ends
 */
export async function confirmInstance(
  instanceId: string,
  metadata: Metadata,
  dialect: Dialect,
  ending: AbortSignal,
): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    await sleep(backoffMs(failures), undefined, { signal: ending })
    // Still silent, which is logged where it began: asked again after a while.
    const named = await readInstanceId(metadata, dialect).catch(() => undefined)
    if (named === undefined) continue
    if (named.trim() === instanceId) return
    throw new MetabindError('SOURCE_OTHER', named.trim().slice(0, 128))
  }
}
