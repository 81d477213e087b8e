/**
 * What a builder of nearly valid inputs asks of a fuzzer's bytes, from front to back: a change of one byte
 * changes one choice. When they are used up every choice is the first one, so that short inputs are whole.
 */
export class Choices {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isEmpty(): boolean {
    return this.#offset >= this.#bytes.length
  }

  byte(): number {
    const value = this.#bytes[this.#offset] ?? 0
    this.#offset += 1
    return value
  }

  u32(): number {
    return ((this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte()) >>> 0
  }

  /** 0 to `count` - 1, for a count of up to 2^32. */
  below(count: number): number {
    return count <= 256 ? this.byte() % count : this.u32() % count
  }

  isTrue(): boolean {
    return (this.byte() & 1) === 1
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0]
  }

  /** A length in one byte, then at most as many bytes. */
  bytes(bytesMax = 255): Buffer {
    return this.take(Math.min(this.byte(), bytesMax))
  }

  text(bytesMax = 255): string {
    return this.bytes(bytesMax).toString('latin1')
  }

  /** All that are left. */
  rest(): Buffer {
    return this.take(this.#bytes.length - this.#offset)
  }

  take(length: number): Buffer {
    const from = Math.min(this.#offset, this.#bytes.length)
    this.#offset = from + Math.max(0, length)
    return this.#bytes.subarray(from, this.#offset)
  }
}

/** A copy of `genuine` with up to `editsMax` places changed as `choices` say; at least one is asked for. */
export function altered(genuine: Buffer, choices: Choices, editsMax = 4): Buffer {
  let bytes = Buffer.from(genuine)
  const edits = 1 + choices.below(editsMax)
  for (let edit = 0; edit < edits; edit += 1) bytes = edited(bytes, choices)
  return bytes
}

function edited(bytes: Buffer<ArrayBuffer>, choices: Choices): Buffer<ArrayBuffer> {
  const kind = choices.below(6)
  const at = choices.below(65_536) % (bytes.length + 1)
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
  if (kind === 0) return Buffer.concat([before, choices.bytes(16), after.subarray(1)])
  if (kind === 1) return Buffer.concat([before, choices.bytes(16), after])
  if (kind === 2) return Buffer.concat([before, after.subarray(1 + choices.byte())])
  if (kind === 3) return Buffer.from(before)
  if (kind === 4) return Buffer.concat([before, after.subarray(0, 1 + choices.byte()), after])
  const changed = Buffer.from(bytes)
  if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ (1 << choices.below(8))
  return changed
}
