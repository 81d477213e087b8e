/** Reads little-endian integers and byte strings of bounded length: event logs, unlike the TPM itself. */
export class LittleEndianReader {
  readonly #bytes: Buffer
  readonly #truncated: () => never
  #offset = 0

  /** @param truncated throws if more is asked for than there is */
  constructor(bytes: Uint8Array, truncated: () => never) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#truncated = truncated
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length
  }

  u16(): number {
    return this.take(2).readUInt16LE(0)
  }

  u32(): number {
    return this.take(4).readUInt32LE(0)
  }

  /** u32 length, then as many bytes. */
  sized(): Buffer {
    return this.take(this.u32())
  }

  /** The next `length` bytes, as a window on the input. */
  take(length: number): Buffer {
    if (length > this.#bytes.length - this.#offset) this.#truncated()
    const part = this.#bytes.subarray(this.#offset, this.#offset + length)
    this.#offset += length
    return part
  }
}
