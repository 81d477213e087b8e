import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { crlUrls, issuerUrls } from '../../src/certificates/certificate-places.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'

/** Where a certificate says that its issuer's certificate and lists are. */

const URL = 'http://a.test/'
const uri = (text = URL) => der(0x86, Buffer.from(text))
const NINE = Array.from({ length: 9 }, (_, at) => `${URL}${at}`)
const NOTHING = Buffer.alloc(0)

/** A certificate with one extension, which is a SEQUENCE of these. */
function certificateWith(oid: string, members: readonly Buffer[]) {
  const extensions = [{ oid, value: der(0x30, ...members) }]
  return parseCertificate(makeAuthority('Authority', { extensions }).der)
}

test('nowhere, if it does not say', () => {
  const bare = parseCertificate(makeAuthority('Authority').der)
  expect([issuerUrls(bare), crlUrls(bare)]).toEqual([[], []])
})

describe('of its issuer (authorityInfoAccess, RFC 5280 4.2.2.1)', () => {
  const CA_ISSUERS = '06082b06010505073002'
  const OCSP = '06082b06010505073001'
  const access = (method: Buffer | string, ...location: readonly Buffer[]) =>
    der(0x30, method, ...location)
  const urlsOf = (...members: readonly Buffer[]) =>
    issuerUrls(certificateWith('1.3.6.1.5.5.7.1.1', members))

  test('the first eight URLs', () => {
    const urls = urlsOf(...NINE.map((url) => access(CA_ISSUERS, uri(url))))
    expect(urls).toEqual(NINE.slice(0, 8))
  })

  test.each([
    ['who says whether it is revoked', access(OCSP, uri())],
    ['a name in a directory', access(CA_ISSUERS, der(0xa4, der(0x30, uri())))],
    ['a way and no place', access(CA_ISSUERS)],
    ['neither way nor place', access(NOTHING)],
  ])('not: %s', (_, member) => {
    expect(urlsOf(member, access(CA_ISSUERS, uri()))).toEqual([URL])
  })
})

describe('of its lists (cRLDistributionPoints, RFC 5280 4.2.1.13)', () => {
  const point = (...members: readonly Buffer[]) => der(0x30, ...members)
  const fullName = (...names: readonly Buffer[]) => der(0xa0, der(0xa0, ...names))
  const urlsOf = (...points: readonly Buffer[]) => crlUrls(certificateWith('2.5.29.31', points))

  test('the first eight URLs, of one point or several', () => {
    expect(urlsOf(point(fullName(...NINE.map(uri))))).toEqual(NINE.slice(0, 8))
    expect(urlsOf(...NINE.map((url) => point(fullName(uri(url)))))).toEqual(NINE.slice(0, 8))
  })

  test.each([
    ['what names who signs the list', point(der(0xa2, der(0xa0, uri())))],
    ['what is only the end of a name', point(der(0xa0, der(0xa1, uri())))],
    ['a name of a host', point(fullName(der(0x82, Buffer.from('a.test'))))],
    ['a point that says nothing', point()],
  ])('not: %s', (_, odd) => {
    expect(urlsOf(odd, point(fullName(uri())))).toEqual([URL])
  })
})
