import type { IncomingMessage } from 'node:http'
import type { Observed } from '../admin-api.ts'
import type { Dialect } from '../dialect/dialect.ts'

/** Whom a connection is counted for. */
export type Who = Pick<Observed, 'uid' | 'unit' | 'container' | 'network' | 'isPlaced'>

export interface ObservedTable {
  /** Counts a request. */
  add(who: Who, incoming: IncomingMessage): void
  /** Oldest first. */
  seen(): readonly Observed[]
}

export interface ObservedTableDeps {
  readonly dialect: Dialect
  /** Told once for each user and unit that reads without a token. */
  readonly onTokenless: (seen: Observed) => void
}

const SEEN_MAX = 1024
const PATH_BYTES_MAX = 256

/** Counts by user and unit. The one that was quiet for longest makes room. */
export function observedTable(deps: ObservedTableDeps): ObservedTable {
  const rows = new Map<string, Observed>()
  const add = (who: Who, incoming: IncomingMessage): void => {
    const key = `${who.uid} ${who.unit} ${who.container} ${who.network} ${who.isPlaced}`
    const before = rows.get(key)
    const row = counted(before, who, incoming, deps.dialect)
    rows.delete(key)
    rows.set(key, row)
    const [oldest] = rows.keys()
    if (rows.size > SEEN_MAX && oldest !== undefined) rows.delete(oldest)
    if (row.readsWithoutToken === 1 && before?.readsWithoutToken !== 1) deps.onTokenless(row)
  }
  return { add, seen: () => [...rows.values()] }
}

function counted(
  before: Observed | undefined,
  who: Who,
  incoming: IncomingMessage,
  dialect: Dialect,
): Observed {
  const path = incoming.url?.split('?', 1)[0]?.slice(0, PATH_BYTES_MAX) ?? ''
  const isTokenRequest = incoming.method === 'PUT'
  const hasToken = incoming.headers[dialect.tokenHeader] !== undefined
  return {
    ...who,
    tokenRequests: (before?.tokenRequests ?? 0) + Number(isTokenRequest),
    readsWithToken: (before?.readsWithToken ?? 0) + Number(!isTokenRequest && hasToken),
    readsWithoutToken: (before?.readsWithoutToken ?? 0) + Number(!isTokenRequest && !hasToken),
    lastPath: path,
    lastSeen: new Date().toISOString(),
  }
}
