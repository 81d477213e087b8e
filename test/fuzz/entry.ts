import { keepSmallest } from './smallest.ts'
import type { FuzzTarget } from './target.ts'

/** What the fuzzer calls: a target, and what holds of every input besides: it is done in bounded time. */

// The slowest genuine inputs take some milliseconds. Time that other processes took does not count.
const LONG_MS = 300
const CPU_MS_MAX = 250
const TRIES = 3

export function fuzzFunction(target: FuzzTarget): (data: Buffer) => void | Promise<void> {
  process.once('exit', () => {
    const { user, system } = process.cpuUsage()
    process.stderr.write(`stat::cpu_seconds: ${((user + system) / 1e6).toFixed(1)}\n`)
  })
  const list = process.env.FUZZ_SMALLEST
  if (list !== undefined) return once(() => keepSmallest(target, list))
  return target.isAsync ? target.run : inBoundedTime(target.run)
}

/** The fuzzer cannot be told to call once only. It takes a function of no argument for one with a callback. */
function once(run: () => Promise<void>): (data: Buffer) => Promise<void> {
  let running: Promise<void> | undefined
  return (_data) => {
    running ??= run()
    return running
  }
}

function inBoundedTime(run: (data: Buffer) => void): (data: Buffer) => void {
  return (data) => {
    const began = performance.now()
    run(data)
    if (performance.now() - began > LONG_MS) requireQuick(() => run(data), data.length)
  }
}

/** Run again, as it may have been another process or the collection of garbage that took the time. */
function requireQuick(run: () => void, bytes: number): void {
  const took = Array.from({ length: TRIES }, () => cpuMs(run))
  const leastMs = Math.min(...took)
  if (leastMs > CPU_MS_MAX) throw new Error(`${leastMs} ms of CPU for ${bytes} bytes`)
}

function cpuMs(run: () => void): number {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
