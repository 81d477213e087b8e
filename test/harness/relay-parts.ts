import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { httpBounds, limitBounds, sourceBounds } from '../../src/agent/settings.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { policyInForce } from '../../src/policy/current.ts'
import { readers } from '../../src/policy/readers.ts'
import { newCounters } from '../../src/relay/counters.ts'
import { limits } from '../../src/relay/limits.ts'
import type { RelayDeps } from '../../src/relay/relay-deps.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { tokenAuthority } from '../../src/token/authority.ts'

/** All that a relay is made of, in this process, with a simulated cloud: no TPM, and no policy but the built-in one. */
export interface RelayParts {
  readonly deps: RelayDeps
  readonly cloud: Simulator
  stop(): Promise<void>
}

export const DIALECT = DIALECTS.aliyun
const clockMs = () => performance.now()
const nothing = () => undefined

export async function relayParts(): Promise<RelayParts> {
  const directory = await mkdtemp('/tmp/relay-')
  await writeFile(join(directory, 'policy.toml'), '', { mode: 0o600 })
  const cloud = await startSimulator({ role: 'app' })
  const config = parseConfig([])
  const source = openSource(DIALECT, cloud.url, sourceBounds(config), clockMs)
  const policy = policyInForce(DIALECT.secretPaths, nothing)
  await policy.take(join(directory, 'policy.toml'))
  const keys = { iidPrefix: '00'.repeat(8), key: () => Buffer.alloc(32), isRevoked: () => false }
  const refuse = () => {
    throw new Error('not asked for here')
  }
  const deps = {
    dialect: DIALECT,
    tokens: tokenAuthority(keys, clockMs, () => ['uid'] as const),
    metadata: metadataFrom({
      source,
      dialect: DIALECT,
      lifetimeOf: lifetimesBy(DIALECT.lifetimes),
      bounds: { entriesMax: 100, bytesMax: 1_000_000 },
      clocks: { bootTimeMs: clockMs, wallTimeMs: Date.now, random: () => 0 },
      answerWithinMs: config.source.timeout_ms,
      ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
      ...{ onRole: nothing, onCached: nothing },
    }),
    identityTokens: { issue: refuse },
    proofs: { make: refuse },
    audit: nothing,
    bounds: httpBounds(config),
    limits: limits(limitBounds(config), clockMs, nothing),
    counters: newCounters(),
    ttlSecondsMax: () => DIALECT.ttlSecondsMax,
    policy: () => policy.current().policy,
    readers: readers(() => 0),
    requireRunning: nothing,
    logFault: refuse,
    inspect: refuse,
  }
  return {
    deps,
    cloud,
    stop: async () => {
      await source.close()
      await cloud.close()
      await rm(directory, { recursive: true })
    },
  }
}
