import { lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** linux/time.h */
const CLOCK_BOOTTIME = 7

const clockGettime = koffi.load('libc.so.6').func('int clock_gettime(int clockid, void *tp)')

/** struct timespec: seconds and nanoseconds. One for all calls, as they are synchronous. */
const timespec = new BigInt64Array(2)

/** Milliseconds since boot, suspended time included (clock_gettime(2), CLOCK_BOOTTIME). */
export function bootTimeMs(): number {
  if (clockGettime(CLOCK_BOOTTIME, timespec) !== 0) throw lastError('clock_gettime')
  return Number(timespec[0]) * 1000 + Number(timespec[1]) / 1e6
}

/** Microseconds of CLOCK_MONOTONIC, as sd_notify(3) wants it in MONOTONIC_USEC. */
export function monotonicUsec(): bigint {
  return process.hrtime.bigint() / 1000n
}
