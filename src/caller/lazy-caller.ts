import { closeSync } from 'node:fs'
import type { PeerCredentials } from 'metabind-linux'
import { MetabindError } from '../errors.ts'
import { type ProcessAttributes, readPinned } from './process.ts'
import { isUnseen, unknownBecause } from './unknown.ts'

/**
 * So many descriptors are kept for callers that nobody has asked for: beside one for each connection, however many
 * `limits.connections` allows, LimitNOFILE= has to hold them. More than there are connections by default.
 */
export const PIDFDS_KEPT_MAX = 4096
let pidfdsKept = 0

/** Whether one more caller may be read later; if not, it is read at once. */
export function mayReadLater(): boolean {
  return pidfdsKept < PIDFDS_KEPT_MAX
}

/**
 * A Caller of which /proc is read when somebody first asks for what stands there, once and all of it: most
 * requests on most connections need only what the kernel recorded when it connected.
 *
 * Until then its pidfd is kept, so that whoever has its pid later is not taken for it: if it has ended, it is
 * not known. If it has run another program (execve) meanwhile, its unit, container and namespaces are those of
 * then, which no process can choose for itself: it can enter a namespace and leave none, and only root and
 * systemd move it to another unit. What it runs is never read late.
 */
export class LazyCaller {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  #pidfd: number | undefined
  #read: ProcessAttributes | MetabindError | undefined

  constructor({ pid, uid, gid }: PeerCredentials, groups: readonly number[], pidfd: number) {
    this.pid = pid
    this.uid = uid
    this.gid = gid
    this.groups = groups
    this.#pidfd = pidfd
    pidfdsKept += 1
  }

  get unit(): string | undefined {
    return this.#attributes().unit
  }

  get slice(): string | undefined {
    return this.#attributes().slice
  }

  get container(): string | undefined {
    return this.#attributes().container
  }

  get namespaces(): ProcessAttributes['namespaces'] {
    return this.#attributes().namespaces
  }

  /** Whether somebody has asked, and could be told. */
  get isRead(): boolean {
    return this.#read !== undefined && !(this.#read instanceof MetabindError)
  }

  /** Gives its pidfd back: with the end of the connection, if nobody has asked before. */
  release(): void {
    if (this.#pidfd === undefined) return
    closeSync(this.#pidfd)
    this.#pidfd = undefined
    pidfdsKept -= 1
  }

  /** @throws MetabindError CALLER_UNKNOWN, or LIMIT_CONNECTIONS if it can be read later */
  #attributes(): ProcessAttributes {
    const read = this.#read ?? this.#readNow()
    if (!isUnseen(read)) {
      this.#read = read
      this.release()
    }
    if (read instanceof MetabindError) throw read
    return read
  }

  #readNow(): ProcessAttributes | MetabindError {
    try {
      if (this.#pidfd !== undefined) return readPinned(this.pid, this.#pidfd, undefined)
      return new MetabindError('CALLER_UNKNOWN', 'its connection is closed')
    } catch (error) {
      return unknownBecause('its process cannot be looked at', error)
    }
  }
}
