import { z } from 'zod'

/**
 * JSON members that stand for bytes. All are canonical: a second spelling of the same bytes is
 * refused, so that two documents that differ say different things. Lengths are checked on the text,
 * before anything is decoded.
 */

/** Bytes as base64 with padding. */
export function base64Bytes(bytesMin: number, bytesMax: number) {
  const text = z.string().max(Math.ceil(bytesMax / 3) * 4)
  return bytesCodec(text, 'base64', bytesMin, bytesMax)
}

/** Bytes as base64url without padding. */
export function base64urlBytes(bytesMin: number, bytesMax: number) {
  return bytesCodec(z.string().max(Math.ceil((bytesMax / 3) * 4)), 'base64url', bytesMin, bytesMax)
}

/** Bytes as lower-case hex. */
export function hexBytes(bytesMin: number, bytesMax: number) {
  return bytesCodec(z.string().max(bytesMax * 2), 'hex', bytesMin, bytesMax)
}

function bytesCodec(
  text: z.ZodString,
  encoding: 'base64' | 'base64url' | 'hex',
  bytesMin: number,
  bytesMax: number,
) {
  const bytes = z.custom<Buffer>((value) => Buffer.isBuffer(value))
  return z.codec(text, bytes, {
    decode: (value, context) => {
      const decoded = Buffer.from(value, encoding)
      const fits = decoded.length >= bytesMin && decoded.length <= bytesMax
      if (fits && decoded.toString(encoding) === value) return decoded
      const message = `not ${bytesMin} to ${bytesMax} bytes of canonical ${encoding}`
      context.issues.push({ code: 'custom', input: value, message })
      return z.NEVER
    },
    encode: (value) => value.toString(encoding),
  })
}
