import { parseDer } from '../../src/certificates/der.ts'
import { der } from './crl.ts'

/** Members of a TBSCertificate with a version (RFC 5280 4.1.2), by their place. */
const TBS_MEMBER = { validity: 4, subject: 5, publicKey: 6 } as const

/** The same certificate with another member. Its signature holds no more, which nobody asks who only reads it. */
export function withTbsMember(
  certificate: Buffer,
  member: keyof typeof TBS_MEMBER,
  element: Buffer,
): Buffer {
  const [tbs, ...rest] = parseDer(certificate).children
  const members = tbs?.children.map(({ bytes }) => bytes) ?? []
  members[TBS_MEMBER[member]] = element
  return der(0x30, der(0x30, ...members), ...rest.map(({ bytes }) => bytes))
}
