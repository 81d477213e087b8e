import { LinuxError, lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** asm-generic/poll.h */
const POLLIN = 0x0001
const POLLNVAL = 0x0020

/** asm-generic/unistd.h: the same number on every architecture. */
const SYS_PIDFD_OPEN = 434

const libc = koffi.load('libc.so.6')
const poll = libc.func('int poll(void *fds, unsigned long nfds, int timeout)')
const syscall = libc.func('long syscall(long number, ...)')

/** struct pollfd: int fd; short events; short revents. One for all calls, as they are synchronous. */
const pollfd = new DataView(new ArrayBuffer(8))
const bytes = new Uint8Array(pollfd.buffer)
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/**
 * Whether the process of a pidfd still runs (pidfd_open(2): a pidfd polls readable once its process
 * has ended, whether or not it was waited for). Needs no permission over that process, while a
 * signal 0 would.
 *
 * @param pidfd of pidfd_open(2) or SO_PEERPIDFD
 * @throws LinuxError EBADF if it is no open descriptor
 */
export function processAlive(pidfd: number): boolean {
  pollfd.setInt32(0, pidfd, LITTLE_ENDIAN)
  pollfd.setInt16(4, POLLIN, LITTLE_ENDIAN)
  pollfd.setInt16(6, 0, LITTLE_ENDIAN)
  if (poll(bytes, 1, 0) < 0) throw lastError('poll')
  const revents = pollfd.getInt16(6, LITTLE_ENDIAN)
  if ((revents & POLLNVAL) !== 0 || pidfd < 0) throw new LinuxError('poll', 'EBADF')
  return (revents & POLLIN) === 0
}

/**
 * A file descriptor of the process that has a pid now. The caller closes it. Undefined if the
 * kernel lacks pidfd_open(2) (before 5.3).
 *
 * @throws LinuxError ESRCH if there is no such process
 */
export function openPidfd(pid: number): number | undefined {
  const pidfd = Number(syscall(SYS_PIDFD_OPEN, 'int', pid, 'unsigned int', 0))
  if (pidfd >= 0) return pidfd
  const error = lastError('pidfd_open')
  if (error.code === 'ENOSYS') return undefined
  throw error
}
