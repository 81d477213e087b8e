import { type LinuxError, lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** asm-generic/fcntl.h */
const LOCK_EX = 2
const LOCK_NB = 4

const flock = koffi.load('libc.so.6').func('int flock(int fd, int operation)')

/**
 * Locks an open file for this descriptor alone (flock(2)), until it is closed, at the latest by the end of the
 * process, however that ends.
 *
 * @returns false if somebody else has it locked
 * @throws LinuxError EBADF, ENOLCK
 */
export function lockFile(fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true
  const error: LinuxError = lastError('flock')
  if (error.code === 'EAGAIN') return false
  throw error
}
