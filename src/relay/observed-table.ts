import type { IncomingMessage } from 'node:http'
import type { Observed } from '../admin-api.ts'
import { rowOwner, rowsOfLargest } from '../caller/row-owner.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { type Rate, ratePerUid } from '../rate-limit.ts'

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
  /** Told of each user and unit that reads without a token, as long as these are not too many. */
  readonly onTokenless: (seen: Observed) => void
}

export const OBSERVED_MAX = 1024
/** Of all together: whoever has many users or containers would fill the log. */
const TOLD: Rate = { perSecond: 1, burst: 200 }
const PATH_BYTES_MAX = 256

/** Counts by user and unit. Of whoever has most, the one that was quiet for longest makes room. */
export function observedTable(deps: ObservedTableDeps): ObservedTable {
  const rows = new Map<string, Row>()
  const told = ratePerUid(TOLD, () => performance.now())
  const add = (who: Who, incoming: IncomingMessage): void => {
    const key = `${who.uid} ${who.unit} ${who.container} ${who.network} ${who.isPlaced}`
    const before = rows.get(key)?.row
    const row = counted(before, who, incoming, deps.dialect)
    rows.delete(key)
    rows.set(key, { key, owner: ownerOf(who), row })
    if (rows.size > OBSERVED_MAX) dropOldest(rows)
    const isFirst = row.readsWithoutToken === 1 && before?.readsWithoutToken !== 1
    if (isFirst && told.take(undefined) === 0) deps.onTokenless(row)
  }
  return { add, seen: () => [...rows.values()].map(({ row }) => row) }
}

interface Row {
  readonly key: string
  /** Whose rows make room for it. */
  readonly owner: string
  readonly row: Observed
}

function ownerOf({ uid, container, network, isPlaced }: Who): string {
  if (uid === undefined || !isPlaced) return rowOwner(undefined)
  return rowOwner({ uid, container, namespaces: network === 'own' ? ['network'] : [] })
}

function dropOldest(rows: Map<string, Row>): void {
  const [oldest] = rowsOfLargest([...rows.values()])
  if (oldest !== undefined) rows.delete(oldest.key)
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
