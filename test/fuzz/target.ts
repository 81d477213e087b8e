import { MetabindError } from '../../src/errors.ts'

interface Target {
  /** What one execution is, for the table of docs/reliability.md. */
  readonly execution: string
  /** Longest input that the fuzzer makes. */
  readonly bytesMax: number
  /** How many turns of a run it gets; one unless told otherwise. Quick ones, and those that meet callers, get more. */
  readonly turns?: number
  /** Words that the format has. */
  readonly words?: readonly string[]
  /** Inputs to begin with, made of genuine values. */
  seeds(): readonly Buffer[]
}

/** Something that reads what others write, and what must hold whatever they write. */
export type FuzzTarget = Target &
  (
    | {
        readonly isAsync?: undefined
        /** @throws if something does not hold */
        readonly run: (input: Buffer) => void
      }
    | {
        /** Some ten times slower. */
        readonly isAsync: true
        readonly run: (input: Buffer) => Promise<void>
      }
  )

/** What a reader gives for hostile bytes, or the code that it refuses them with. Anything else thrown is a fault. */
export function outcome<T>(
  read: () => T,
): { value: T; code?: never } | { code: string; value?: never } {
  try {
    return { value: read() }
  } catch (error) {
    if (error instanceof MetabindError) return { code: error.code }
    throw error
  }
}

/** Inputs of a target whose first byte says whether the rest is read as it is, or chosen from. */
const AS_IT_IS = 0
export const CHOSEN = 1

export function asItIs(bytes: Uint8Array | string): Buffer {
  return Buffer.concat([Buffer.of(AS_IT_IS), Buffer.from(bytes as Uint8Array)])
}

export function chosen(...bytes: readonly number[]): Buffer {
  return Buffer.of(CHOSEN, ...bytes)
}
