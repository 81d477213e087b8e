import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { MetabindError } from '../errors.ts'
import { type Caller, type CallerDeps, peerOf } from './caller.ts'
import { LazyCaller } from './lazy-caller.ts'

/** All that is remembered of an open connection. It is made once, and goes with the socket. */
export interface Connection {
  /** Who is on the other end, or why nobody is named; undefined until the connection is identified. */
  caller: Caller | MetabindError | undefined
  /**
   * The user for whom everything on the connection is counted, whether its caller could be identified or
   * not; undefined if the kernel names none.
   */
  uid: number | undefined
  /** Requests that wait for their answers; undefined until the first comes. */
  requestsUnderWay: number | undefined
  /** What had been read when the last answer was complete. If it is more now, a request is arriving. */
  readBytesAtRest: number
  /** For how long nothing has been asked, as far as anybody has looked; undefined if something was since the last look. */
  quietMs: number | undefined
  /** Whether a request was refused with the end of the connection: what was sent behind it is not carried out. */
  isClosing: boolean
  /** What the kernel had not taken of answers at the last look, since nobody reads them at the other end. */
  unreadBytes: number
  /** Looks in a row at which nothing more had been read. */
  unreadLooks: number
  /** What is to be done when it is closed; undefined if nothing is yet. */
  endings: (() => void)[] | undefined
}

const CONNECTION = Symbol('connection')
type Carrier = Duplex & { [CONNECTION]?: Connection }

export function connectionOf(socket: Carrier): Connection {
  socket[CONNECTION] ??= {
    caller: undefined,
    uid: undefined,
    requestsUnderWay: undefined,
    readBytesAtRest: 0,
    quietMs: undefined,
    isClosing: false,
    unreadBytes: 0,
    unreadLooks: 0,
    endings: undefined,
  }
  return socket[CONNECTION]
}

/**
 * Calls `act` when a connection is closed. All that ends with one hangs on one listener: node:http adds a listener
 * of the same event for each request and removes it, which costs more the more there are.
 */
export function whenClosed(socket: Socket, act: () => void): void {
  const connection = connectionOf(socket)
  if (connection.endings === undefined) socket.on('close', closed)
  connection.endings ??= []
  connection.endings.push(act)
}

function closed(this: Socket): void {
  const { endings = [] } = connectionOf(this)
  for (const act of endings) act()
}

/**
 * Identifies whoever connected. Called once, when a connection is accepted; no request on the connection
 * asks again. A caller that cannot be identified is remembered as such, so that each of its requests is
 * refused.
 */
export function identifyCaller(socket: Socket, deps: Partial<CallerDeps> = {}): void {
  const { uid, caller } = peerOf(socket, deps)
  const connection = connectionOf(socket)
  if (uid !== undefined) connection.uid = uid
  connection.caller = caller
  if (caller instanceof LazyCaller) whenClosed(socket, () => caller.release())
}

/** Remembers who is on the other end, if the transport is another than a Unix socket. */
export function rememberCaller(socket: Socket, caller: Caller): void {
  connectionOf(socket).caller = caller
  rememberUid(socket, caller.uid)
}

/** Remembers why nobody is named on the other end: the record of each refusal says it. */
export function rememberUnknown(socket: Socket, why: MetabindError): void {
  connectionOf(socket).caller = why
}

/** Remembers the user of a caller that may not be identified: whatever it does is counted for that user. */
export function rememberUid(socket: Socket, uid: number): void {
  connectionOf(socket).uid = uid
}

/** The user for whom everything on a connection is counted; undefined if the kernel names none. */
export function uidOf(socket: Duplex): number | undefined {
  return connectionOf(socket).uid
}

/**
 * The caller of a request's connection.
 *
 * @throws MetabindError CALLER_UNKNOWN
 */
export function callerOf(socket: Duplex): Caller {
  const { caller } = connectionOf(socket)
  if (caller === undefined) throw new MetabindError('CALLER_UNKNOWN')
  if (caller instanceof MetabindError) throw caller
  return caller
}

/** Whether a connection is root's. Root of a container, or who may be in one, is another. */
export function isHostRoot(socket: Socket): boolean {
  const { caller } = connectionOf(socket)
  if (caller === undefined || caller instanceof MetabindError || caller.uid !== 0) return false
  try {
    return caller.container === undefined && caller.namespaces.length === 0
  } catch {
    return false
  }
}

/** What one over TCP counts for: the kernel holds more for it, of requests as well as of answers. */
export const SHARES_OF_TCP = 4
/** Some 2 KiB. */
const GROUPS_PER_SHARE = 256

/**
 * How many connections one counts for: more than one over TCP, and if its caller is in so many groups
 * that what is remembered of it would fill the memory.
 */
export function sharesOf(socket: Socket): number {
  // A Unix socket has no address.
  const shares = socket.remoteAddress === undefined ? 1 : SHARES_OF_TCP
  const { caller } = connectionOf(socket)
  if (caller === undefined || caller instanceof MetabindError) return shares
  return shares + Math.floor(caller.groups.length / GROUPS_PER_SHARE)
}
