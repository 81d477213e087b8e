import { crc32, deflateSync, inflateSync } from 'node:zlib'

const SIGNATURE_BYTES = 8
const COLOURS_MAX = 256

/**
 * The same picture as a PNG with a palette: of colours that are nearly alike the most frequent one stays. Of a page of
 * text that takes a third.
 */
export function smallPicture(png: Buffer): Buffer {
  const { width, height, pixels, bytesPerPixel } = decoded(png)
  const colours = new Uint32Array(width * height)
  for (let at = 0; at < colours.length; at += 1) {
    colours[at] = pixels.readUIntBE(at * bytesPerPixel, 3)
  }
  const palette = paletteOf(colours)
  const rows = Buffer.alloc((width + 1) * height)
  for (let at = 0; at < colours.length; at += 1) {
    // Each row begins with its filter, which is none.
    rows[at + 1 + Math.floor(at / width)] = palette.indexOf(colours[at] ?? 0)
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 3], 8)
  const table = Buffer.concat(palette.list.map((colour) => threeBytes(colour)))
  return Buffer.concat([
    png.subarray(0, SIGNATURE_BYTES),
    chunk('IHDR', header),
    chunk('PLTE', table),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function paletteOf(colours: Uint32Array) {
  const counts = new Map<number, number>()
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1)
  const frequent = [...counts].toSorted(([, one], [, other]) => other - one)
  for (let bits = 5; ; bits -= 1) {
    const byKind = new Map<number, number>()
    for (const [colour] of frequent) {
      if (!byKind.has(kindOf(colour, bits))) byKind.set(kindOf(colour, bits), colour)
    }
    if (byKind.size > COLOURS_MAX) continue
    const list = [...byKind.values()]
    const places = new Map([...byKind.keys()].map((kind, at) => [kind, at]))
    return { list, indexOf: (colour: number) => places.get(kindOf(colour, bits)) ?? 0 }
  }
}

/** The highest bits of red, green and blue. */
function kindOf(colour: number, bits: number): number {
  const mask = 0x01_01_01 * ((0xff << (8 - bits)) & 0xff)
  return colour & mask
}

function threeBytes(colour: number): Buffer {
  const bytes = Buffer.alloc(3)
  bytes.writeUIntBE(colour, 0, 3)
  return bytes
}

/** The pixels of a PNG as Chromium makes them: eight bits, no palette, not interlaced. */
function decoded(png: Buffer) {
  const parts: Buffer[] = []
  let header = Buffer.alloc(13)
  for (let at = SIGNATURE_BYTES; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const type = png.toString('latin1', at + 4, at + 8)
    const data = png.subarray(at + 8, at + 8 + png.readUInt32BE(at))
    if (type === 'IHDR') header = Buffer.from(data)
    if (type === 'IDAT') parts.push(data)
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  const bytesPerPixel = header[9] === 6 ? 4 : 3
  const pixels = unfiltered(inflateSync(Buffer.concat(parts)), width * bytesPerPixel, bytesPerPixel)
  return { width, height, pixels, bytesPerPixel }
}

/** Undoes the filter of each row (PNG, 9). */
function unfiltered(rows: Buffer, rowBytes: number, bytesPerPixel: number): Buffer {
  const height = rows.length / (rowBytes + 1)
  const pixels = Buffer.alloc(rowBytes * height)
  for (let row = 0; row < height; row += 1) {
    const filter = rows[row * (rowBytes + 1)]
    for (let column = 0; column < rowBytes; column += 1) {
      const at = row * rowBytes + column
      const left = column < bytesPerPixel ? 0 : (pixels[at - bytesPerPixel] ?? 0)
      const above = row === 0 ? 0 : (pixels[at - rowBytes] ?? 0)
      const corner =
        column < bytesPerPixel || row === 0 ? 0 : (pixels[at - rowBytes - bytesPerPixel] ?? 0)
      const guesses = [0, left, above, (left + above) >> 1, paeth(left, above, corner)]
      pixels[at] = (rows[row * (rowBytes + 1) + 1 + column] ?? 0) + (guesses[filter ?? 0] ?? 0)
    }
  }
  return pixels
}

function paeth(left: number, above: number, corner: number): number {
  const guess = left + above - corner
  const [toLeft, toAbove, toCorner] = [left, above, corner].map((one) => Math.abs(guess - one))
  if (toLeft === undefined || toAbove === undefined || toCorner === undefined) return 0
  if (toLeft <= toAbove && toLeft <= toCorner) return left
  return toAbove <= toCorner ? above : corner
}

function chunk(type: string, data: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(content))
  return Buffer.concat([length, content, check])
}
