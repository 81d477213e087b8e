import { existsSync, readdirSync, rmSync } from 'node:fs'

/** Processes whose wall clock is off, by libfaketime (Debian's package of that name). */

const ARCHITECTURE = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const SHARED = '/dev/shm'

/**
 * The environment of one. CLOCK_MONOTONIC and CLOCK_BOOTTIME stay as they are: only what settimeofday(2) sets is moved.
 *
 * @param clock an offset such as `-10y`, or a file of one, which is read at each look
 */
export function falseClock(clock: string | { readonly file: string }): Record<string, string> {
  const set =
    typeof clock === 'string'
      ? { FAKETIME: clock }
      : { FAKETIME_TIMESTAMP_FILE: clock.file, FAKETIME_NO_CACHE: '1' }
  return {
    LD_PRELOAD: `/usr/lib/${ARCHITECTURE}-linux-gnu/faketime/libfaketime.so.1`,
    ...set,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  }
}

/** What to put before a command to run it so. */
export function throughFalseClock(clock: Parameters<typeof falseClock>[0]): string[] {
  return ['env', ...Object.entries(falseClock(clock)).map((pair) => pair.join('='))]
}

/** Removes what such processes made in shared memory: one that is killed, or leaves by _exit, leaves it there. */
export function removeEndedClocks(): void {
  for (const name of readdirSync(SHARED)) {
    const [, pid] = /^(?:faketime_shm|sem\.faketime_sem)_([0-9]+)$/.exec(name) ?? []
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(`${SHARED}/${name}`, { force: true })
  }
}
