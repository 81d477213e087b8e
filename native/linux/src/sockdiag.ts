import { closeSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { LinuxError, lastError } from './error.ts'
import { koffi } from './foreign.ts'

/**
 * Who owns the other end of a TCP connection on this host: sock_diag(7), asked for one exact socket.
 * What the kernel knows is the uid that made the socket, not the process that uses it now.
 */

/** linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, asm-generic/socket.h, netinet/tcp.h */
const AF_INET = 2
const AF_INET6 = 10
const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
const NETLINK_SOCK_DIAG = 4
const SOCK_DIAG_BY_FAMILY = 20
const NLM_F_REQUEST = 1
const NLM_F_DUMP = 0x300
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const IPPROTO_TCP = 6
const TCP_ESTABLISHED = 1
/** The second and third are those of a socket that was shut for writing and still reads. */
const OPEN_STATES = [TCP_ESTABLISHED, 4, 5]
const INET_DIAG_CGROUP_ID = 21
const ENOENT = 2

/** struct nlmsghdr; struct inet_diag_req_v2 after it; struct inet_diag_msg in the answer. */
const HEADER_BYTES = 16
const REQUEST_BYTES = HEADER_BYTES + 56
const MESSAGE_BYTES = HEADER_BYTES + 72
const ANSWER_BYTES_MAX = 4096
/** What has to be there of an answer of each type: the message, or how a list ended. */
const ANSWER_BYTES = { [SOCK_DIAG_BY_FAMILY]: MESSAGE_BYTES, [NLMSG_DONE]: HEADER_BYTES + 4 }
/** Where struct inet_diag_sockid begins in the request and in the answer. */
const REQUEST_ID = HEADER_BYTES + 8
const ANSWER_ID = HEADER_BYTES + 4

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const send = libc.func('int64_t send(int fd, const void *buf, size_t len, int flags)')
const recv = libc.func('int64_t recv(int fd, void *buf, size_t len, int flags)')

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

/**
 * The owner of an established connection of this network namespace. IPv6 sockets that speak to an
 * IPv4 address are found as well.
 *
 * A socket that its owner has closed is not found: the kernel reports uid 0 for it, and a caller
 * that connects, sends and closes at once would pass for root. One that was shut for writing only is.
 *
 * @returns undefined if there is no such socket, or it is not open, or has no owner
 * @throws LinuxError if the kernel cannot be asked
 */
export function tcpSocketOwner(ends: TcpEnds): SocketOwner | undefined {
  const id = socketId(ends)
  const answer = exchange(requestFor(id), SOCK_DIAG_BY_FAMILY)
  return answer === undefined ? undefined : ownerIn(answer, id)
}

/**
 * Whether the kernel knows TCP sockets here. What answers may be a module of it (tcp_diag), which is loaded
 * when it is first asked; if it cannot be, every socket is one that the kernel does not know.
 *
 * @throws LinuxError if the kernel cannot be asked
 */
export function knowsTcpSockets(): boolean {
  // A list of the sockets that are in no state. It ends with a zero, or with what was lacking.
  const answer = exchange(requestFor(Buffer.alloc(48), NLM_F_DUMP, 0), NLMSG_DONE)
  return answer !== undefined && nativeView(answer).getInt32(HEADER_BYTES, LITTLE) === 0
}

/** struct inet_diag_sockid: ports and addresses in network order; any interface, any cookie. */
function socketId(ends: TcpEnds): Buffer {
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

function requestFor(id: Buffer, flags = 0, states = 1 << TCP_ESTABLISHED): Buffer {
  const request = Buffer.alloc(REQUEST_BYTES)
  const native = nativeView(request)
  native.setUint32(0, REQUEST_BYTES, LITTLE)
  native.setUint16(4, SOCK_DIAG_BY_FAMILY, LITTLE)
  native.setUint16(6, NLM_F_REQUEST | flags, LITTLE)
  request[HEADER_BYTES] = AF_INET
  request[HEADER_BYTES + 1] = IPPROTO_TCP
  native.setUint32(HEADER_BYTES + 4, states, LITTLE)
  id.copy(request, REQUEST_ID)
  return request
}

/** One question, one answer, on a socket of its own: no answer to an older question can be in it. */
function exchange(request: Buffer, wanted: keyof typeof ANSWER_BYTES): Buffer | undefined {
  const fd: number = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
  if (fd < 0) throw lastError('socket NETLINK_SOCK_DIAG')
  try {
    if (send(fd, request, request.length, 0) !== request.length) throw lastError('send sock_diag')
    const answer = Buffer.alloc(ANSWER_BYTES_MAX)
    // The kernel has answered before send returns, so there is nothing to wait for.
    const bytes = Number(recv(fd, answer, answer.length, MSG_DONTWAIT))
    if (bytes < HEADER_BYTES) throw lastError('recv sock_diag')
    return messageIn(answer.subarray(0, bytes), wanted)
  } finally {
    closeSync(fd)
  }
}

/** @returns the message, or undefined if the kernel knows no such socket */
function messageIn(answer: Buffer, wanted: keyof typeof ANSWER_BYTES): Buffer | undefined {
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

function ownerIn(answer: Buffer, id: Buffer): SocketOwner | undefined {
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
const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function nativeView(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
