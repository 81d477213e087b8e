import type { Socket } from 'node:net'
import { peerCredentials, socketFd } from 'tpm2-js/linux'
import { MetabindError } from '../errors.ts'

/** The local process on the other end of a connection, as the kernel names it. */
export interface Caller {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

const callers = new WeakMap<Socket, Caller>()

/**
 * Asks the kernel who connected (SO_PEERCRED, unix(7)). Called once, when a connection is accepted:
 * the answer is fixed at connect time and cannot be changed by the peer. A socket whose peer cannot
 * be named is remembered as nobody, so that each of its requests is refused.
 */
export function identifyCaller(socket: Socket): void {
  try {
    const { pid, uid, gid } = peerCredentials(socketFd(socket))
    // pid 0: the peer is in a PID namespace that this one cannot see into.
    if (pid > 0) callers.set(socket, { pid, uid, gid })
  } catch {
    // The peer has gone already; its requests, if any arrive, are refused by callerOf.
  }
}

/**
 * The caller of a request's connection.
 *
 * @throws MetabindError CALLER_UNKNOWN
 */
export function callerOf(socket: Socket): Caller {
  const caller = callers.get(socket)
  if (caller === undefined) throw new MetabindError('CALLER_UNKNOWN')
  return caller
}
