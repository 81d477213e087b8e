import { createHash } from 'node:crypto'

/** A public key as JSON Web Key (RFC 7517, 7518 6). */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string }

/** SHA-256 of a key's required members in the order of their names, base64url (RFC 7638, 3). */
export function jwkThumbprint(key: PublicJwk): string {
  const members =
    key.kty === 'EC'
      ? { crv: key.crv, kty: key.kty, x: key.x, y: key.y }
      : { e: key.e, kty: key.kty, n: key.n }
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}
