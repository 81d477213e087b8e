import { bootTimeMs } from 'metabind-linux'
import type { Config } from '../config.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { ERRORS } from '../error-table.ts'
import { causeChain } from '../errors.ts'
import type { Log } from '../log.ts'
import { lifetimesBy } from '../metadata/lifetimes.ts'
import { type Metadata, metadataFrom } from '../metadata/metadata.ts'
import { decodeSealedCache, type SealedCache, startSealedCache } from '../metadata/sealed-cache.ts'
import type { Source } from '../metadata/source.ts'
import type { ReadyState } from './startup.ts'

/** The cache before the source, with its timer, and its memory of the boot. */
export interface MetadataCache {
  readonly metadata: Metadata
  /** Takes over what an earlier process of this boot had fetched, and writes what this one fetches. */
  persistIn(ready: ReadyState): void
  /** Refreshes no more. */
  stop(): void
  /** Writes what is cached once more. */
  end(): void
}

// How often credentials are looked at. Timers stand still in a suspend, so the clocks are asked.
const TURN_MS = 15_000
const FAILURE_LOG_MS = 60_000

export function metadataCache(
  config: Config,
  dialect: Dialect,
  source: Source,
  log: Log,
): MetadataCache {
  let items: SealedCache | undefined
  const metadata = metadataFrom({
    source,
    lifetimeOf: lifetimesBy(dialect.lifetimes),
    dialect,
    bounds: { entriesMax: config.cache.entries_max, bytesMax: config.cache.bytes_max },
    clocks: { bootTimeMs, wallTimeMs: Date.now, random: Math.random },
    answerWithinMs: config.source.timeout_ms,
    onSource: (isDown) => {
      if (isDown) log.warn({ code: 'SOURCE_DOWN' }, 'the source has fallen silent')
      else log.info('the source answers again')
    },
    onRefreshFailed: atMostEvery(FAILURE_LOG_MS, (path: string, error: unknown) =>
      log.warn({ path, cause: causeChain(error) }, 'credentials not refreshed'),
    ),
    onUnusable: atMostEvery(FAILURE_LOG_MS, (path: string, error: unknown) =>
      log.warn({ path, cause: causeChain(error) }, 'no usable answer of the source'),
    ),
    onRole: (path, roleCode) => {
      if (roleCode === undefined) log.info({ path }, 'the role is refused no more')
      else log.warn(refusedRole(path, roleCode), ERRORS.SOURCE_ROLE.sentence)
    },
    onCached: () => items?.changed(),
  })
  const turning = setInterval(() => metadata.turn(), TURN_MS)
  return {
    metadata,
    persistIn: ({ sealedFiles, tokenKeys }) => {
      const { instanceId } = tokenKeys.identity
      const before = sealedFiles.read('kept-items')
      if (before !== undefined) metadata.restore(decodeSealedCache(instanceId, before))
      const file = { write: (bytes: Buffer) => sealedFiles.write('kept-items', bytes) }
      items = startSealedCache(instanceId, metadata.snapshot, file)
      items.changed()
      // Roles may have been taken from the instance while no agent ran.
      metadata.turn()
    },
    stop: () => clearInterval(turning),
    end: () => items?.end(),
  }
}

function refusedRole(path: string, roleCode: string) {
  return { code: 'SOURCE_ROLE', path, roleCode, remedy: ERRORS.SOURCE_ROLE.remedy }
}

/** Lets a call through, and then none until `ms` of boot time have gone by. */
function atMostEvery<Args extends unknown[]>(
  ms: number,
  call: (...args: Args) => void,
): (...args: Args) => void {
  let lastMs = Number.NEGATIVE_INFINITY
  return (...args) => {
    if (bootTimeMs() - lastMs < ms) return
    lastMs = bootTimeMs()
    call(...args)
  }
}
