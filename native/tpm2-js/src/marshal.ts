import { TpmError } from './tpm-error.ts'
import { STRUCT_BYTES, tssLibraries } from './tss-libraries.ts'
import type { StructType } from './tss-prototypes.ts'

/**
 * Wire bytes <-> C structures, by libtss2-mu. TypeScript handles wire bytes only; a structure is an
 * opaque buffer with room to spare, so no C layout is written down here.
 */

/** An opaque C structure in our memory. Keep it referenced until the native call has returned. */
export type Struct = Buffer

/**
 * Converts a caller's wire bytes. They must be exactly the one structure: what the library would
 * ignore (trailing bytes, a size that does not fit) is refused by converting back and comparing.
 *
 * @throws TpmError TPM_ARGUMENT naming `argument`
 */
export function toStruct(type: StructType, wire: Uint8Array, argument: string): Struct {
  const struct = Buffer.alloc(STRUCT_BYTES)
  const rc: number = tssLibraries()[`Tss2_MU_${type}_Unmarshal`](wire, wire.length, [0], struct)
  if (rc === 0 && isWireFormOf(type, struct, wire)) return struct
  throw new TpmError('TPM_ARGUMENT', `${argument}: not a well-formed ${type}`)
}

function isWireFormOf(type: StructType, struct: Struct, wire: Uint8Array): boolean {
  return marshalled(type, struct, (written) => written?.equals(wire) === true)
}

/** Converts a structure at a native address. The result is a copy, and the only one. */
export function fromStruct(type: StructType, source: bigint): Uint8Array {
  return marshalled(type, source, (written, rc) => {
    if (written === undefined) throw new TpmError('TPM_LIBRARY', `cannot marshal ${type}`, { rc })
    // Outside of V8's heap, which leaves copies of what it moves.
    const copy = new Uint8Array(new ArrayBuffer(written.length))
    copy.set(written)
    return copy
  })
}

/** Lends the wire form to `use`, and clears it: structures carry key material. */
function marshalled<T>(
  type: StructType,
  source: Struct | bigint,
  use: (written: Buffer | undefined, rc: number) => T,
): T {
  const scratch = Buffer.alloc(STRUCT_BYTES)
  const offset: [number] = [0]
  try {
    const rc: number = tssLibraries()[`Tss2_MU_${type}_Marshal`](
      source,
      scratch,
      scratch.length,
      offset,
    )
    return use(rc === 0 ? scratch.subarray(0, offset[0]) : undefined, rc)
  } finally {
    scratch.fill(0)
  }
}

/** A TPM2B: u16 size and the bytes. */
export function sized(bytes: Uint8Array): Uint8Array {
  const size = Buffer.alloc(2)
  size.writeUInt16BE(bytes.length)
  return Buffer.concat([size, bytes])
}

/** The contents of a TPM2B that the marshalling library has written: the same memory, so that it can be wiped. */
export function unsized(wire: Uint8Array): Uint8Array {
  return wire.subarray(2)
}
