import { type KeyObject, verify } from 'node:crypto'
import { ES256 } from '../format/algorithms.ts'
import { parseStrictJson } from '../format/strict-json.ts'

/** A JSON Web Signature in compact form (RFC 7515, 3.1), taken apart. Nothing in it is believed yet. */
export interface CompactJws {
  /** JSON. */
  readonly header: unknown
  readonly signedText: string
  readonly signature: Buffer
  /** Decodes it, as JSON. Call it when the signature was verified. */
  readonly payload: () => unknown
}

/** @param malformed throws the error of what this is part of */
export function parseCompactJws(
  text: string,
  malformed: (why: string, cause?: unknown) => never,
): CompactJws {
  /** Canonical base64url: a second spelling of one token is refused. */
  const decode = (part: string): Buffer => {
    const bytes = Buffer.from(part, 'base64url')
    return bytes.toString('base64url') === part ? bytes : malformed('not base64url')
  }
  const jsonOf = (bytes: Buffer): unknown => {
    try {
      return parseStrictJson(bytes)
    } catch (error) {
      return malformed('not JSON of one reading', error)
    }
  }
  const parts = text.split('.')
  const [header = '', payload = '', signature = ''] = parts
  if (parts.length !== 3) malformed('not three parts')
  return {
    header: jsonOf(decode(header)),
    signedText: `${header}.${payload}`,
    signature: decode(signature),
    payload: () => jsonOf(decode(payload)),
  }
}

/** Whether it was signed with ES256 (RFC 7518, 3.4) by this key, whatever its header says. */
export function isEs256By(key: KeyObject, { signedText, signature }: CompactJws): boolean {
  return (
    key.asymmetricKeyDetails?.namedCurve === ES256.curve &&
    signature.length === 64 &&
    verify(ES256.hash, Buffer.from(signedText), { key, dsaEncoding: 'ieee-p1363' }, signature)
  )
}
