import type { Config } from '../config.ts'
import type { SocketPlace } from '../http/listen.ts'
import type { HttpBounds } from '../http/server.ts'
import type { SourceBounds } from '../metadata/source.ts'
import type { LimitBounds } from '../relay/limits.ts'

// What the configuration says, as the settings of each part.

export function sourceBounds(config: Config): SourceBounds {
  return {
    connectTimeoutMs: config.source.connect_timeout_ms,
    timeoutMs: config.source.timeout_ms,
    answerBytesMax: config.source.answer_bytes_max,
  }
}

export function limitBounds({ limits }: Config): LimitBounds {
  return {
    mints: { perSecond: limits.mints_per_second, burst: limits.mint_burst },
    misses: { perSecond: limits.misses_per_second, burst: limits.miss_burst },
    proofs: { perSecond: limits.proofs_per_second, burst: limits.proof_burst },
    connections: limits.connections,
    connectionsPerUid: limits.connections_per_uid,
  }
}

export function httpBounds(config: Config): HttpBounds {
  return {
    connections: config.limits.connections,
    headerBytesMax: config.limits.header_bytes_max,
    bodyBytesMax: config.limits.body_bytes_max,
    requestTimeoutMs: config.limits.request_timeout_ms,
    idleTimeoutMs: config.limits.idle_timeout_ms,
  }
}

/** @param descriptor of the socket that systemd made, if it did */
export function socketPlace(
  { listen }: Config,
  name: 'admin' | 'metadata',
  descriptor: number | undefined,
): SocketPlace {
  return { path: listen[`${name}_socket`], mode: listen[`${name}_mode`], descriptor }
}
