import { getSystemErrorName } from 'node:util'
import { koffi } from './foreign.ts'

/** A refused system call: `syscall` and the name of its errno (`EBADF`). */
export class LinuxError extends Error {
  override readonly name = 'LinuxError'
  readonly code: string
  readonly syscall: string

  constructor(syscall: string, code: string) {
    super(`${syscall}: ${code}`)
    this.code = code
    this.syscall = syscall
  }
}

/** The error of the native call before. Nothing else may be called natively in between. */
export function lastError(syscall: string): LinuxError {
  return new LinuxError(syscall, getSystemErrorName(-koffi.errno()))
}
