import { RateError } from '../errors.ts'
import { openCounts } from '../open-counts.ts'
import { type Rate, ratePerUid } from '../rate-limit.ts'

/** What one uid may do. Reads that the cache answers are not limited: they cost what refusing costs. */
export interface LimitBounds {
  readonly mints: Rate
  readonly misses: Rate
  readonly proofs: Rate
  /** Of all together. */
  readonly connections: number
  readonly connectionsPerUid: number
}

export const LIMIT_KINDS = ['mint', 'miss', 'exchange', 'proof', 'connections', 'total'] as const
/** Which limit was met: five of a uid, and `total` for the connections of all together. */
export type LimitKind = (typeof LIMIT_KINDS)[number]

/** Connections of all users together, on all sockets: the memory of the agent is one. */
export interface OpenShares {
  count: number
}

/** Limits per uid. One that floods is refused; nobody else notices. */
export interface Limits {
  /** Call before a token is made. @throws RateError */
  requireMint(uid: number): void
  /** Call before the source is asked for somebody, once for all who wait for that answer. @throws RateError */
  requireMiss(uid: number): void
  /** Call before the registrar is asked for a token for somebody. @throws RateError */
  requireExchange(uid: number): void
  /** Call before a proof is signed. @throws RateError */
  requireProof(uid: number): void
  /** Call for each refusal. @returns how long its answer has to wait: 0, but for a uid that floods */
  pauseMs(uid: number | undefined): number
  /**
   * @param uid undefined: those whose user the kernel does not name have a small share together
   * @param shares how many connections it counts for
   * @param isRoot whether it is root of the host, for whom some are kept; asked if others could not stay
   * @returns undefined if it may not stay; each that was admitted must leave
   */
  admit(uid: number | undefined, shares?: number, isRoot?: () => boolean): Admitted | undefined
  leave(admitted: Admitted): void
}

/** For whom a connection is counted, and for how many. `root`: root of the host, beyond what all of uid 0 have. */
interface Admitted {
  readonly user: number | 'root' | undefined
  readonly shares: number
}

// More refusals than a program that behaves ever meets; beyond them, one connection gets ten a second
// and not ten thousand, and the event loop is free for the others.
const REFUSALS: Rate = { perSecond: 50, burst: 200 }
const PAUSE_MS = 100
// Each takes a signature of the TPM, which makes a few a second for all; a program keeps what it is given.
const EXCHANGES: Rate = { perSecond: 0.5, burst: 20 }

const NAMELESS_CONNECTIONS_MAX = 64
// Of all connections: whoever takes the others, in the name of however many users, root can still look.
const KEPT_FOR_ROOT_MAX = 64

/** How many of `connections` only root may have. */
export function keptForRoot(connections: number): number {
  return Math.min(KEPT_FOR_ROOT_MAX, Math.floor(connections / 8))
}

/**
 * @param clockMs a clock that never jumps
 * @param onRefused told of each refusal
 * @param open shared by all limits that are of one process
 */
export function limits(
  bounds: LimitBounds,
  clockMs: () => number,
  onRefused: (kind: LimitKind) => void,
  open: OpenShares = { count: 0 },
): Limits {
  const mints = ratePerUid(bounds.mints, clockMs)
  const misses = ratePerUid(bounds.misses, clockMs)
  const exchanges = ratePerUid(EXCHANGES, clockMs)
  const proofs = ratePerUid(bounds.proofs, clockMs)
  const refusals = ratePerUid(REFUSALS, clockMs)
  const requireOne = (waitSeconds: number, kind: LimitKind): void => {
    if (waitSeconds === 0) return
    onRefused(kind)
    throw new RateError(waitSeconds, kind)
  }
  return {
    requireMint: (uid) => requireOne(mints.take(uid), 'mint'),
    requireMiss: (uid) => requireOne(misses.take(uid), 'miss'),
    requireExchange: (uid) => requireOne(exchanges.take(uid), 'exchange'),
    requireProof: (uid) => requireOne(proofs.take(uid), 'proof'),
    pauseMs: (uid) => (refusals.take(uid) === 0 ? 0 : PAUSE_MS),
    ...connectionLimits(bounds, onRefused, open),
  }
}

function connectionLimits(
  { connections, connectionsPerUid }: LimitBounds,
  onRefused: (kind: LimitKind) => void,
  open: OpenShares,
): Pick<Limits, 'admit' | 'leave'> {
  // Of whoever has a connection, so bounded by all of these.
  const ofUser = openCounts<Admitted['user']>()
  const namelessMax = Math.min(NAMELESS_CONNECTIONS_MAX, connectionsPerUid)
  const kept = keptForRoot(connections)
  const refuse = (why: LimitKind): undefined => {
    onRefused(why)
    return undefined
  }
  const enter = (admitted: Admitted): Admitted => {
    ofUser.add(admitted.user, admitted.shares)
    open.count += admitted.shares
    return admitted
  }
  const refusalOf = (
    shares: number,
    [own, ownMax]: readonly [number, number],
    allMax: number,
  ): LimitKind | undefined => {
    if (own + shares > ownMax) return 'connections'
    return open.count + shares > allMax ? 'total' : undefined
  }
  return {
    admit: (uid, shares = 1, isRoot = () => false) => {
      const ownMax = uid === undefined ? namelessMax : connectionsPerUid
      const refusal = refusalOf(shares, [ofUser.of(uid), ownMax], connections - kept)
      if (refusal === undefined) return enter({ user: uid, shares })
      if (uid !== 0 || !isRoot()) return refuse(refusal)
      const ofRoot = ofUser.of(0) + ofUser.of('root')
      const still = refusalOf(shares, [ofRoot, connectionsPerUid + kept], connections)
      return still === undefined ? enter({ user: 'root', shares }) : refuse(still)
    },
    leave: ({ user, shares }) => {
      ofUser.remove(user, shares)
      open.count -= shares
    },
  }
}
