import { lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** linux/prctl.h, asm-generic/resource.h */
const PR_GET_DUMPABLE = 3
const PR_SET_DUMPABLE = 4
const RLIMIT_CORE = 4

const libc = koffi.load('libc.so.6')
const prctl = libc.func('int prctl(int option, ...)')
const setrlimit = libc.func('int setrlimit(int resource, const void *rlim)')
const exit = libc.func('void _exit(int status)')

/** No core dump, and no ptrace or /proc/pid/mem by processes of the same uid (prctl(2)). */
export function setNotDumpable(): void {
  if (prctl(PR_SET_DUMPABLE, 'unsigned long', 0) !== 0) throw lastError('prctl PR_SET_DUMPABLE')
}

export function isDumpable(): boolean {
  const dumpable: number = prctl(PR_GET_DUMPABLE)
  if (dumpable < 0) throw lastError('prctl PR_GET_DUMPABLE')
  return dumpable !== 0
}

/** Sets the soft and the hard limit of core files to 0 (setrlimit(2)). */
export function disableCoreDumps(): void {
  if (setrlimit(RLIMIT_CORE, new BigUint64Array(2)) !== 0) throw lastError('setrlimit RLIMIT_CORE')
}

/**
 * Ends the process without exit handlers (_exit(2)). process.exit() waits for every native call
 * that still runs on a worker thread, hence for a TPM that never answers.
 */
export function exitAtOnce(status: number): never {
  exit(status)
  throw new Error('_exit returned')
}
