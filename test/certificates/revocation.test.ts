import { describe, expect, test } from 'vitest'
import type { Certificate } from '../../src/certificates/certificate.ts'
import type { Crl } from '../../src/certificates/crl.ts'
import { linksOf } from '../../src/certificates/path-links.ts'
import {
  byIssuer,
  isCoveredByCrls,
  NO_CRLS,
  requireNotRevoked,
} from '../../src/certificates/revocation.ts'
import type { Issuer } from '../harness/certificate.ts'
import { crlExtension, entry, extensionsOfEntry, utcTime } from '../harness/crl.ts'
import { NOW } from '../harness/verify-case.ts'
import {
  BELOW,
  below,
  isCoveredBy,
  LEAF,
  listOf,
  nameOf,
  ROOT,
  refusalBy,
  root,
} from './crl-path.ts'

const ENDED = { thisUpdate: utcTime('240101000000Z'), nextUpdate: utcTime('240201000000Z') }
const REFUSED = 'VERIFY_CERTIFICATE_CRL'

test('each certificate stands beside its issuer', () => {
  expect(linksOf([LEAF, BELOW, ROOT])).toEqual([
    [LEAF, BELOW],
    [BELOW, ROOT],
  ])
  expect(linksOf([ROOT])).toEqual([])
  expect(linksOf([])).toEqual([])
})

describe('revoked', () => {
  const revoking = (issuer: Issuer, serial: string, code: string) => {
    const reason = code === '' ? [] : [extensionsOfEntry(crlExtension(21, `0a01${code}`))]
    return listOf(issuer, { entries: [entry('01'), entry(serial, ...reason)] })
  }

  test.each([
    ['', ''],
    ['00', ''],
    ['01', ': keyCompromise'],
    ['02', ': cACompromise'],
    ['03', ': affiliationChanged'],
    ['04', ': superseded'],
    ['05', ': cessationOfOperation'],
    ['06', ': certificateHold'],
    ['07', ''],
    ['08', ''],
    ['09', ': privilegeWithdrawn'],
    ['0a', ': aACompromise'],
    ['0b', ''],
  ])('for reason "%s" (RFC 5280 5.3.1)', (code, why) => {
    const serial = LEAF.serialNumber
    expect(refusalBy([revoking(below, serial, code)])).toBe(
      `VERIFY_CERTIFICATE_REVOKED ${nameOf(LEAF)}, serial number ${serial}, since 2025-01-01T00:00:00.000Z${why}.`,
    )
  })

  test("an authority of the path; by the second of its issuer's lists; by one that ended", () => {
    const { serialNumber } = BELOW
    const ended = listOf(root, { ...ENDED, entries: [entry(`00${serialNumber}`)] })
    for (const lists of [[revoking(root, serialNumber, '')], [listOf(root), ended], [ended]]) {
      expect(refusalBy(lists)).toBe(
        `VERIFY_CERTIFICATE_REVOKED ${nameOf(BELOW)}, serial number ${serialNumber}, since 2025-01-01T00:00:00.000Z.`,
      )
    }
  })

  test('not the anchor, and not by a list of another issuer or of another scope', () => {
    const ofUsers = { extensions: [crlExtension(28, '3003 8101ff', true)] }
    const lists = [
      listOf(root, { entries: [entry(ROOT.serialNumber), entry(LEAF.serialNumber)] }),
      listOf(below, { entries: [entry(BELOW.serialNumber)] }),
      listOf(root, { ...ofUsers, entries: [entry(BELOW.serialNumber)] }),
    ]
    expect(isCoveredBy(lists)).toBe(true)
  })
})

describe('covered', () => {
  const [ofBelow, ofRoot] = [listOf(below), listOf(root)]

  test('by a list for each certificate but the anchor', () => {
    expect(isCoveredBy([ofBelow, ofRoot], { demandCrls: true })).toBe(true)
    for (const lists of [[], [ofBelow], [ofRoot]]) {
      expect(isCoveredBy(lists)).toBe(false)
    }
    expect(isCoveredBy([ofRoot], { path: [ROOT], demandCrls: true })).toBe(false)
  })

  test('not without lists, which nobody demands unless told to', () => {
    requireNotRevoked([LEAF, BELOW, ROOT], NO_CRLS, NOW.getTime())
    expect(isCoveredByCrls([LEAF, BELOW, ROOT], NO_CRLS.crls, NOW.getTime())).toBe(false)
  })

  test.each<[string, readonly Crl[], Certificate]>([
    ['none at all', [], LEAF],
    ["none of the leaf's issuer", [ofRoot], LEAF],
    ['none of the root', [ofBelow], BELOW],
  ])('not, where lists are demanded and there is %s', (_, lists, certificate) => {
    expect(refusalBy(lists, { demandCrls: true })).toBe(
      `${REFUSED} None is given for the issuer of ${nameOf(certificate)}.`,
    )
  })

  test('from thisUpdate to nextUpdate, both included', () => {
    const from = Date.parse('2026-11-01')
    const to = Date.parse('2026-12-01')
    for (const nowMs of [from, to]) {
      expect(isCoveredBy([ofBelow, ofRoot], { nowMs })).toBe(true)
    }
    const only = '2026-11-01T00:00:00.000Z to 2026-12-01T00:00:00.000Z'
    for (const nowMs of [from - 1, to + 1]) {
      expect(refusalBy([ofBelow], { nowMs })).toBe(
        `${REFUSED} For ${nameOf(LEAF)} there is only ${only}.`,
      )
    }
    expect(isCoveredByCrls([LEAF, BELOW, ROOT], byIssuer([ofBelow, ofRoot]), to + 1)).toBe(false)
  })

  test('not by lists that ended or have no end, of which four are shown', () => {
    const ended = listOf(below, ENDED)
    const endless = listOf(below, { nextUpdate: Buffer.alloc(0) })
    const shown = [
      '2024-01-01T00:00:00.000Z to 2024-02-01T00:00:00.000Z',
      '2026-11-01T00:00:00.000Z to no end',
    ]
    const said = (times: readonly string[]) =>
      `${REFUSED} For ${nameOf(LEAF)} there is only ${times.join(', ')}.`
    expect(refusalBy([ended, endless])).toBe(said(shown))
    expect(refusalBy([ended, endless, ended, endless, ended])).toBe(said([...shown, ...shown]))
    expect(isCoveredBy([ended, ofBelow, endless, ofRoot])).toBe(true)
  })
})
