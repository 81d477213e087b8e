import { describe, expect, test } from 'vitest'
import type { Crl } from '../../src/certificates/crl.ts'
import { ext, makeAuthority, newKey } from '../harness/certificate.ts'
import { type CrlFields, crlExtension, der, entry } from '../harness/crl.ts'
import {
  BELOW,
  below,
  isCoveredBy,
  LEAF,
  listOf,
  nameOf,
  parsed,
  pathBelow,
  ROOT,
  ROOT_KEY_ID,
  refusalBy,
  root,
} from './crl-path.ts'

const REFUSED = 'VERIFY_CERTIFICATE_CRL'
const OTHER_ID = Buffer.alloc(20, 8)
const keyId = (id: Buffer) => [crlExtension(35, der(0x30, der(0x80, id)))]

describe('whose a list is', () => {
  const path = [BELOW, ROOT]
  const stranger = newKey()
  const revoking = { entries: [entry(BELOW.serialNumber)] }
  const REVOKED = /^VERIFY_CERTIFICATE_REVOKED /

  test.each<[string, Partial<CrlFields>]>([
    ['names the key', { extensions: keyId(ROOT_KEY_ID) }],
    ['names none', {}],
  ])("the issuer's, which signed it and %s", (_, fields) => {
    expect(refusalBy([listOf(root, { ...revoking, ...fields })], { path })).toMatch(REVOKED)
  })

  test.each<[string, Partial<CrlFields>]>([
    ['names another key, though this one signed it', { extensions: keyId(OTHER_ID) }],
    ['names another key, which signed it', { extensions: keyId(OTHER_ID), signer: stranger }],
    ['names none, and another key signed it', { signer: stranger }],
  ])("nobody's of the path, which %s", (_, fields) => {
    const lists = [listOf(root, { ...revoking, ...fields })]
    expect(isCoveredBy(lists, { path })).toBe(false)
    expect(refusalBy(lists, { path, demandCrls: true })).toMatch(/ None is given for /)
  })

  test('one that names a key, where the issuer names none, is known by its signature', () => {
    const lists = (signer?: typeof stranger) => [
      listOf(below, {
        entries: [entry(LEAF.serialNumber)],
        extensions: keyId(OTHER_ID),
        ...(signer === undefined ? {} : { signer }),
      }),
    ]
    expect(refusalBy(lists())).toMatch(REVOKED)
    expect(isCoveredBy(lists(stranger))).toBe(false)
  })

  test('one that names the key and was not signed by it: refused', () => {
    const lists = [listOf(root, { extensions: keyId(ROOT_KEY_ID), signer: stranger })]
    expect(refusalBy(lists, { path })).toBe(`${REFUSED} The signature of a list does not verify.`)
  })

  test('one that is signed with SHA-1: refused', () => {
    const lists = [listOf(root, { algorithm: der(0x30, '06072a8648ce3d0401') })]
    expect(refusalBy(lists, { path })).toBe(
      `${REFUSED} A list: Found: signature algorithm 1.2.840.10045.4.1.`,
    )
  })

  test('one of an algorithm that keys of this kind do not have is not looked at', () => {
    const algorithm = der(0x30, '06092a864886f70d01010b 0500')
    expect(isCoveredBy([listOf(root, { ...revoking, algorithm })], { path })).toBe(false)
  })

  /** RFC 5280 6.3.3 (f). */
  test('one of an issuer whose key may not sign lists: refused, if it signed it', () => {
    const extensions = [ext.basicConstraints(true), ext.keyUsage(5)]
    const silent = makeAuthority('Silent', { extensions })
    const asked = { path: pathBelow(silent) }
    expect(refusalBy([listOf(silent)], asked)).toBe(
      `${REFUSED} ${nameOf(parsed(silent))} may not sign lists.`,
    )
    expect(isCoveredBy([listOf(silent, { signer: stranger })], asked)).toBe(false)
  })

  test('one of an issuer that says nothing of what its key may', () => {
    const open = makeAuthority('Open', { extensions: [ext.basicConstraints(true)] })
    expect(isCoveredBy([listOf(open)], { path: pathBelow(open) })).toBe(true)
  })
})

/** A list may be 16 MiB. */
describe('how often a list is hashed', () => {
  const counted = (list: Crl) => {
    let hashed = 0
    const seen: Crl = {
      ...list,
      get tbs() {
        hashed += 1
        return list.tbs
      },
    }
    return { seen, hashes: () => hashed }
  }

  test('once for a key, however many certificates are looked for', () => {
    const { seen, hashes } = counted(listOf(root))
    for (const name of ['One', 'Another']) {
      expect(isCoveredBy([seen], { path: pathBelow(root, name) })).toBe(true)
    }
    expect(hashes()).toBe(1)
  })

  test('sixteen keys are remembered', () => {
    const signer = newKey()
    const { seen, hashes } = counted(listOf(root, { signer }))
    const paths = Array.from({ length: 17 }, () => pathBelow(makeAuthority('Root')))
    for (const path of paths.slice(0, 16)) isCoveredBy([seen], { path })
    expect(hashes()).toBe(16)
    for (const path of paths.slice(0, 16)) isCoveredBy([seen], { path })
    expect(hashes()).toBe(16)
    // Of the seventeenth it is asked twice each time: whether it is revoked, and whether it is covered.
    for (const path of paths.slice(16)) isCoveredBy([seen], { path })
    expect(hashes()).toBe(18)
  })
})
