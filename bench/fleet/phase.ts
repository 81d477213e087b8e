import { cpuSeconds } from '../process.ts'

/** What doing one thing many times came to. */
export interface Phase {
  readonly name: string
  readonly times: number
  readonly seconds: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Of the registrar's process, for each time. */
  readonly registrarCpuMs: number
  /** Of the process that asks, for each time. */
  readonly generatorCpuMs: number
  /** Parts of one core. */
  readonly registrarBusy: number
  readonly generatorBusy: number
  /** By why: refusals that were asked again. */
  readonly refusals: Readonly<Record<string, number>>
}

/** Measures from a phase's beginning to its end. */
export class PhaseMeter {
  readonly #tookMs: number[] = []
  readonly #refusals: Record<string, number> = {}
  readonly #beganMs = performance.now()
  readonly #ownCpu = process.cpuUsage()
  readonly #pid: number
  readonly #registrarCpu: number

  /** @param pid of the registrar */
  constructor(pid: number) {
    this.#pid = pid
    this.#registrarCpu = cpuSeconds([pid])
  }

  /** Milliseconds since the phase began. */
  get elapsedMs(): number {
    return performance.now() - this.#beganMs
  }

  /** One was done. */
  took(ms: number): void {
    this.#tookMs.push(ms)
  }

  refused(why: string): void {
    this.#refusals[why] = (this.#refusals[why] ?? 0) + 1
  }

  end(name: string): Phase {
    const seconds = this.elapsedMs / 1000
    const { user, system } = process.cpuUsage(this.#ownCpu)
    const ownCpu = (user + system) / 1e6
    const registrarCpu = cpuSeconds([this.#pid]) - this.#registrarCpu
    const sorted = this.#tookMs.toSorted((one, other) => one - other)
    const times = sorted.length
    const at = (part: number) => sorted[Math.min(times - 1, Math.floor(times * part))] ?? Number.NaN
    return {
      ...{ name, times, seconds, perSecond: times / seconds },
      ...{ p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) },
      registrarCpuMs: (registrarCpu / times) * 1000,
      generatorCpuMs: (ownCpu / times) * 1000,
      registrarBusy: registrarCpu / seconds,
      generatorBusy: ownCpu / seconds,
      refusals: this.#refusals,
    }
  }
}

/** Acts on each thing, on so many at a time. */
export async function inParallel<T>(
  things: readonly T[],
  atATime: number,
  act: (thing: T) => Promise<void>,
): Promise<void> {
  const queue = things.values()
  const worker = async () => {
    for (const thing of queue) await act(thing)
  }
  await Promise.all(Array.from({ length: Math.min(atATime, things.length) }, worker))
}
