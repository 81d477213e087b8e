import { fromStruct } from './marshal.ts'
import { freeCleared } from './native-memory.ts'
import type { StructType } from './tss-prototypes.ts'

/** An output parameter of an ESAPI function, in the order of its prototype. */
export interface Output<T = unknown> {
  /** `handle`: the TPM now holds something that must be flushed. `reference`: only ESAPI knows more. */
  readonly kind: 'structure' | 'handle' | 'reference' | 'number'
  /** Where koffi writes what the function returned through its pointer. */
  readonly cell: [bigint | number | null]
  /** Takes the value out of `cell`, clears native memory and frees it. Once, after success only. */
  collect(): void
  /** Clears the value: nobody waits for it any more. */
  wipe(): void
  /** The value, after `collect`. */
  value(): T
}

/** A malloc'ed structure: copied to wire bytes and given back at once. */
export function structureOutput(type: StructType): Output<Uint8Array> {
  const cell: [bigint | null] = [null]
  let wire: Uint8Array | undefined
  const collect = () => {
    const pointer = cell[0]
    if (pointer === null) return
    try {
      wire = fromStruct(type, pointer)
    } finally {
      freeCleared(pointer)
    }
  }
  return { kind: 'structure', cell, collect, wipe: () => wire?.fill(0), value: () => present(wire) }
}

export const handleOutput = () => scalarOutput('handle')
export const referenceOutput = () => scalarOutput('reference')
export const numberOutput = () => scalarOutput('number')

function scalarOutput(kind: 'handle' | 'reference' | 'number'): Output<number> {
  const cell: [number] = [0]
  const nothing = () => undefined
  return { kind, cell, collect: nothing, wipe: nothing, value: () => cell[0] }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('an output was read before its call succeeded')
  return value
}
