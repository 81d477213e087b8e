import { closeSync } from 'node:fs'
import { lastError } from './error.ts'
import { koffi } from './foreign.ts'
import {
  AF_INET,
  HEADER_BYTES,
  LITTLE,
  messageIn,
  NLMSG_DONE,
  nativeView,
  ownerIn,
  SOCK_DIAG_BY_FAMILY,
  type SocketOwner,
  socketId,
  TCP_ESTABLISHED,
  type TcpEnds,
  type Wanted,
} from './sockdiag-answer.ts'

/**
 * Who owns the other end of a TCP connection on this host: sock_diag(7), asked for one exact socket.
 * What the kernel knows is the uid that made the socket, not the process that uses it now.
 */

/** linux/netlink.h, linux/sock_diag.h, asm-generic/socket.h */
const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
const NETLINK_SOCK_DIAG = 4
const NLM_F_REQUEST = 1
const NLM_F_DUMP = 0x300
const IPPROTO_TCP = 6

/** struct inet_diag_req_v2 after struct nlmsghdr. */
const REQUEST_BYTES = HEADER_BYTES + 56
const ANSWER_BYTES_MAX = 4096
/** Where struct inet_diag_sockid begins in it. */
const REQUEST_ID = HEADER_BYTES + 8

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const send = libc.func('int64_t send(int fd, const void *buf, size_t len, int flags)')
const recv = libc.func('int64_t recv(int fd, void *buf, size_t len, int flags)')

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
function exchange(request: Buffer, wanted: Wanted): Buffer | undefined {
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
