import { isIPv4 } from 'node:net'
import { LinuxError } from './error.ts'

/** What sock_diag(7) answers: a netlink message of the kernel, as a value. */

/** linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, netinet/tcp.h */
export const AF_INET = 2
const AF_INET6 = 10
export const SOCK_DIAG_BY_FAMILY = 20
const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const TCP_ESTABLISHED = 1
/** The second and third are those of a socket that was shut for writing and still reads. */
const OPEN_STATES = [TCP_ESTABLISHED, 4, 5]
const INET_DIAG_CGROUP_ID = 21
const ENOENT = 2

/** struct nlmsghdr; struct inet_diag_msg after it. */
export const HEADER_BYTES = 16
const MESSAGE_BYTES = HEADER_BYTES + 72
/** What has to be there of an answer of each type: the message, or how a list ended. */
const ANSWER_BYTES = { [SOCK_DIAG_BY_FAMILY]: MESSAGE_BYTES, [NLMSG_DONE]: HEADER_BYTES + 4 }
export type Wanted = keyof typeof ANSWER_BYTES
/** Where struct inet_diag_sockid begins. */
const ANSWER_ID = HEADER_BYTES + 4

/** A TCP socket by its two ends, seen from itself. IPv4 in dotted form. */
export interface TcpEnds {
  readonly localAddress: string
  readonly localPort: number
  readonly remoteAddress: string
  readonly remotePort: number
}

/** What the kernel knows of a socket. */
export interface SocketOwner {
  /** The user that made it. */
  readonly uid: number
  /** Its inode, as in `socket:[N]` under /proc/PID/fd. */
  readonly inode: number
  /** The cgroup (version 2) of the process that made it; undefined before Linux 5.8. */
  readonly cgroupId: bigint | undefined
}

/** struct inet_diag_sockid: ports and addresses in network order; any interface, any cookie. */
export function socketId(ends: TcpEnds): Buffer {
  const id = Buffer.alloc(48)
  id.writeUInt16BE(ends.localPort, 0)
  id.writeUInt16BE(ends.remotePort, 2)
  ipv4Bytes(ends.localAddress).copy(id, 4)
  ipv4Bytes(ends.remoteAddress).copy(id, 20)
  id.fill(0xff, 40, 48)
  return id
}

function ipv4Bytes(address: string): Buffer {
  if (!isIPv4(address)) throw new LinuxError('sock_diag', 'EAFNOSUPPORT')
  return Buffer.from(address.split('.').map(Number))
}

/**
 * @param answer at least HEADER_BYTES
 * @returns the message, or undefined if the kernel knows no such socket
 * @throws LinuxError if it is another, or too short
 */
export function messageIn(answer: Buffer, wanted: Wanted): Buffer | undefined {
  const native = nativeView(answer)
  const type = native.getUint16(4, LITTLE)
  if (type === NLMSG_ERROR && answer.length >= HEADER_BYTES + 4) {
    const errno = -native.getInt32(HEADER_BYTES, LITTLE)
    if (errno === ENOENT) return undefined
    throw new LinuxError('sock_diag', `errno ${errno}`)
  }
  if (type !== wanted || answer.length < ANSWER_BYTES[wanted]) {
    throw new LinuxError('sock_diag', 'EBADMSG')
  }
  return answer
}

export function ownerIn(answer: Buffer, id: Buffer): SocketOwner | undefined {
  const native = nativeView(answer)
  const uid = native.getUint32(ANSWER_ID + 60, LITTLE)
  const inode = native.getUint32(ANSWER_ID + 64, LITTLE)
  // Without an exact match the kernel names a listener; closed sockets have no inode, and uid 0.
  const isOpen = OPEN_STATES.includes(answer[HEADER_BYTES + 1] ?? 0)
  if (!isOpen || inode === 0 || !hasEnds(answer, id)) return undefined
  return { uid, inode, cgroupId: cgroupIdIn(answer) }
}

const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex')

/** Whether the answer is about the socket asked for: ports, and addresses as IPv4 or mapped IPv6. */
function hasEnds(answer: Buffer, id: Buffer): boolean {
  const found = answer.subarray(ANSWER_ID, ANSWER_ID + 48)
  if (!found.subarray(0, 4).equals(id.subarray(0, 4))) return false
  const family = answer[HEADER_BYTES]
  return [4, 20].every((at) => {
    const address = found.subarray(at, at + 16)
    const wanted = id.subarray(at, at + 4)
    if (family === AF_INET) return address.subarray(0, 4).equals(wanted)
    return family === AF_INET6 && address.equals(Buffer.concat([MAPPED_PREFIX, wanted]))
  })
}

/** struct nlattr after the message: length with header, type, value, padded to four bytes. */
function cgroupIdIn(answer: Buffer): bigint | undefined {
  const native = nativeView(answer)
  for (let at = MESSAGE_BYTES; at + 4 <= answer.length; ) {
    const bytes = native.getUint16(at, LITTLE)
    const type = native.getUint16(at + 2, LITTLE)
    if (bytes < 4 || at + bytes > answer.length) return undefined
    if (type === INET_DIAG_CGROUP_ID && bytes === 12) return native.getBigUint64(at + 4, LITTLE)
    at += (bytes + 3) & ~3
  }
  return undefined
}

/** Netlink headers are in the byte order of the machine. */
export const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

export function nativeView(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
