import { MetabindError } from '../errors.ts'

/**
 * Reads big-endian integers and sized byte strings of the TPM (TPM 2.0 Part 1, "Canonicalization").
 * Every length is checked against what is left before anything is taken: the bytes are hostile, and
 * a size of 0xFFFF must cost neither memory nor a crash.
 */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #subject: string
  #offset = 0

  /** @param subject named in errors, for example TPMS_ATTEST */
  constructor(bytes: Uint8Array, subject: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#subject = subject
  }

  get offset(): number {
    return this.#offset
  }

  u8(): number {
    return this.take(1).readUInt8(0)
  }

  u16(): number {
    return this.take(2).readUInt16BE(0)
  }

  u32(): number {
    return this.take(4).readUInt32BE(0)
  }

  u64(): bigint {
    return this.take(8).readBigUInt64BE(0)
  }

  /** The next `length` bytes, as a window on the input. */
  take(length: number): Buffer {
    const left = this.#bytes.length - this.#offset
    if (length > left) this.refuse(`needs ${length} bytes, ${left} are left`)
    const part = this.#bytes.subarray(this.#offset, this.#offset + length)
    this.#offset += length
    return part
  }

  /** A TPM2B: u16 size, then at most `bytesMax` bytes. */
  sized(bytesMax: number): Buffer {
    const size = this.u16()
    if (size > bytesMax) this.refuse(`a size of ${size} where ${bytesMax} is the most`)
    return this.take(size)
  }

  rest(): Buffer {
    return this.take(this.#bytes.length - this.#offset)
  }

  /** Trailing bytes are refused: what is signed and what is read must be the same bytes. */
  end(): void {
    const left = this.#bytes.length - this.#offset
    if (left > 0) this.refuse(`${left} bytes follow its end`)
  }

  refuse(why: string): never {
    throw new MetabindError('VERIFY_STRUCTURE', `${this.#subject} at byte ${this.#offset}: ${why}.`)
  }
}

/** TPM2B of some bytes: u16 size, then the bytes. */
export function sized(bytes: Uint8Array): Buffer {
  const size = Buffer.alloc(2)
  size.writeUInt16BE(bytes.length)
  return Buffer.concat([size, bytes])
}
