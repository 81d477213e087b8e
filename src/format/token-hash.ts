import { createHash } from 'node:crypto'

/** What `ath`, `wth` and `tth` are of a token: SHA-256 of its characters in base64url (RFC 9449, 4.2). */
export function tokenHash(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}
