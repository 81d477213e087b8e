import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { type CrlScope, isInScope, scopeOf } from '../../src/certificates/crl-scope.ts'
import { type Extension, ext, makeAuthority, newKey } from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

const uri = (text: string) => der(0x86, Buffer.from(text))
const [HERE, THERE] = [uri('http://example.com/1.crl'), uri('http://example.com/2.crl')]
const fullName = (...names: readonly Buffer[]) => der(0xa0, der(0xa0, ...names))
const RELATIVE_NAME = der(0xa0, der(0xa1, '3003 060155'))

/** IssuingDistributionPoint (RFC 5280 5.2.5). */
describe('the scope of a list', () => {
  const read = (...fields: readonly (Buffer | string)[]) => scopeOf(der(0x30, ...fields))
  const places = new Set([HERE.toString('hex'), THERE.toString('hex')])

  test.each<[string, readonly (Buffer | string)[], CrlScope]>([
    ['nothing', [], {}],
    ['users', ['8101ff'], { only: 'users' }],
    ['authorities', ['8201ff'], { only: 'authorities' }],
    ['attributes', ['8501ff'], { only: 'attributes' }],
    ['places', [fullName(HERE, THERE)], { places }],
    ['places and users', [fullName(HERE, THERE), '8101ff'], { places, only: 'users' }],
  ])('%s', (_, fields, scope) => {
    expect(read(...fields)).toEqual(scope)
  })

  test('without the extension it is everything', () => {
    expect(scopeOf(undefined)).toEqual({})
  })

  test.each<[string, readonly (Buffer | string)[], string]>([
    ['of two kinds', ['8101ff', '8201ff'], 'its scope'],
    ['of one kind twice', ['8101ff', '8101ff'], 'its scope'],
    ['of places twice', [fullName(HERE), fullName(THERE)], 'its scope'],
    ['that is FALSE, which DER leaves out', ['810100'], 'its scope'],
    ['that is true by another byte than FF', ['810101'], 'its scope'],
    ['of a field that nobody knows', ['8601ff'], 'its scope'],
    ['of some reasons only', ['83020640'], 'a CRL of some reasons only'],
    ['of others as well', ['8401ff'], 'an indirect CRL'],
    ['by a name relative to the issuer', [RELATIVE_NAME], 'a scope by a relative name'],
    ['by no name', [der(0xa0)], 'a scope by a relative name'],
    ['by two names', [der(0xa0, der(0xa0, HERE), der(0xa0, THERE))], 'a scope by a relative name'],
  ])('one %s: refused', (_, fields, what) => {
    expect(detailOf(() => read(...fields))).toBe(`VERIFY_CRL_FILE Found: ${what}.`)
  })

  test('one that is no SEQUENCE: refused', () => {
    const refusal = detailOf(() => scopeOf(der(0x31, '8101ff')))
    expect(refusal).toBe('VERIFY_CRL_FILE Found: its scope.')
  })
})

describe('a certificate in the scope of a list', () => {
  const key = newKey()
  const withExtensions = (...extensions: readonly Extension[]) =>
    parseCertificate(makeAuthority('Subject', { extensions }, undefined, key).der)
  const bare = withExtensions()
  const user = withExtensions(ext.basicConstraints(false))
  const authority = withExtensions(ext.basicConstraints(true))

  test.each<[string, CrlScope, readonly boolean[]]>([
    ['everything', {}, [true, true, true]],
    ['users', { only: 'users' }, [true, true, false]],
    ['authorities', { only: 'authorities' }, [false, false, true]],
    // Of attribute certificates, which no certificate of a key is.
    ['attributes', { only: 'attributes' }, [false, false, false]],
  ])('%s: one that says nothing, a user, an authority', (_, scope, expected) => {
    expect([bare, user, authority].map((each) => isInScope(scope, each))).toEqual(expected)
  })

  const point = (...fields: readonly Buffer[]) => der(0x30, ...fields)
  const REASONS = der(0x81, '0640')
  const crlIssuer = (name: Buffer) => der(0xa2, name)

  /** CRLDistributionPoints (RFC 5280 4.2.1.13). */
  test.each<[string, readonly Buffer[], boolean]>([
    ['the place', [point(fullName(HERE))], true],
    ['another place', [point(fullName(THERE))], false],
    ['the place behind another', [point(fullName(THERE)), point(fullName(HERE))], true],
    ['the place by its second name', [point(fullName(THERE, HERE))], true],
    ['the place for some reasons', [point(fullName(HERE), REASONS)], false],
    ['the place for lists of another', [point(fullName(HERE), crlIssuer(THERE))], false],
    ['an issuer of lists alone', [point(crlIssuer(der(0xa0, HERE)))], false],
    ['a name relative to the issuer', [point(RELATIVE_NAME)], false],
    ['a point of nothing', [point()], false],
    ['a point of nothing before the place', [point(), point(fullName(HERE))], true],
    ['no points', [], false],
  ])('one place, and the certificate names %s', (_, points, expected) => {
    const value = der(0x30, ...points).toString('hex')
    const scope = scopeOf(der(0x30, fullName(HERE)))
    expect(isInScope(scope, withExtensions(ext.raw('2.5.29.31', value)))).toBe(expected)
  })

  test('one place, and the certificate names none', () => {
    expect(isInScope(scopeOf(der(0x30, fullName(HERE))), bare)).toBe(false)
  })

  test('both its kind and its place count', () => {
    const scope = scopeOf(der(0x30, fullName(HERE), '8101ff'))
    const placed = ext.raw('2.5.29.31', der(0x30, point(fullName(HERE))).toString('hex'))
    expect(isInScope(scope, withExtensions(placed))).toBe(true)
    expect(isInScope(scope, withExtensions(placed, ext.basicConstraints(true)))).toBe(false)
    expect(isInScope(scope, user)).toBe(false)
  })
})
