import { lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** asm-generic/socket.h */
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8

/** asm-generic/ioctls.h: TIOCOUTQ, which sockets know as SIOCOUTQ (unix(7), tcp(7)) */
const SIOCOUTQ = 0x5411
/** sys/socket.h */
const SHUT_RD = 0

const libc = koffi.load('libc.so.6')
const setsockopt = libc.func(
  'int setsockopt(int fd, int level, int optname, const void *optval, uint32_t optlen)',
)
const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argp)')
const shutdown = libc.func('int shutdown(int fd, int how)')

/** One for all calls, as they are synchronous. */
const value = new Int32Array(1)

/**
 * How much of what was sent the kernel holds for a peer that does not read. The kernel doubles it, for its
 * own bookkeeping, and lets one more piece through that began below it (socket(7), SO_SNDBUF).
 *
 * @throws LinuxError EBADF or ENOTSOCK
 */
export function setSendBuffer(fd: number, bytes: number): void {
  set(fd, SO_SNDBUF, 'SO_SNDBUF', bytes)
}

/**
 * How much the kernel holds of what a peer has sent and nobody has read, on TCP: doubled as above, and no
 * longer grown by the kernel itself. A Unix socket's is bounded by its sender's buffer.
 *
 * @throws LinuxError EBADF or ENOTSOCK
 */
export function setReceiveBuffer(fd: number, bytes: number): void {
  set(fd, SO_RCVBUF, 'SO_RCVBUF', bytes)
}

/**
 * What the kernel holds of what was sent: on a Unix socket until the peer has read it, in the bytes that it
 * takes in the kernel; over TCP until the peer's kernel has it.
 *
 * @throws LinuxError EBADF, ENOTTY if it is no socket, EINVAL if it listens
 */
export function unsentBytes(fd: number): number {
  if (ioctl(fd, SIOCOUTQ, value) !== 0) throw lastError('ioctl SIOCOUTQ')
  return value[0] ?? 0
}

/**
 * Takes nothing more from the peer (shutdown(2), SHUT_RD). What the kernel has taken already can still be
 * read, then the end. On a Unix socket whoever writes later is told so (EPIPE): of each piece both sides know
 * whether it was taken. Over TCP the peer is not told.
 *
 * @throws LinuxError EBADF, ENOTSOCK, ENOTCONN
 */
export function shutDownReading(fd: number): void {
  if (shutdown(fd, SHUT_RD) !== 0) throw lastError('shutdown SHUT_RD')
}

function set(fd: number, option: number, name: string, bytes: number): void {
  value[0] = bytes
  if (setsockopt(fd, SOL_SOCKET, option, value, value.byteLength) !== 0) {
    throw lastError(`setsockopt ${name}`)
  }
}
