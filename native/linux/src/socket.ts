import { lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** asm-generic/socket.h */
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8

const setsockopt = koffi
  .load('libc.so.6')
  .func('int setsockopt(int fd, int level, int optname, const void *optval, uint32_t optlen)')

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

function set(fd: number, option: number, name: string, bytes: number): void {
  value[0] = bytes
  if (setsockopt(fd, SOL_SOCKET, option, value, value.byteLength) !== 0) {
    throw lastError(`setsockopt ${name}`)
  }
}
