import { sign } from 'node:crypto'
import { jwsInput, jwsOf } from '../format/jws.ts'
import { Secret } from '../secret.ts'
import type { KeyRing } from './key-ring.ts'
import { KEY_KINDS, type KeyKind } from './key-schedule.ts'

/** A JWT by the key that now signs for something. @param typ of its header */
export function signedJwt(
  keys: Pick<KeyRing, 'signing'>,
  kind: KeyKind,
  typ: string,
  claims: Readonly<Record<string, unknown>>,
): Secret<string> {
  const { kid, key } = keys.signing(kind)
  const input = jwsInput({ alg: KEY_KINDS[kind], typ, kid }, claims)
  // All are over SHA-256; of ECDSA JWS has r and s, and not their DER (RFC 7518, 3.4).
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  return new Secret(jwsOf(input, signature))
}
