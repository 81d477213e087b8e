import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ERRORS, type ErrorEntry } from '../../src/error-table.ts'
import { causeChain, type ErrorCode, MetabindError, outsideCode } from '../../src/errors.ts'

const SRC = fileURLToPath(new URL('../../src/', import.meta.url))
const SOURCES = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/^error(s|-table)\.ts$/.test(name))
  .map((name) => readFileSync(join(SRC, name), 'utf8'))
  .join('\n')
const ENTRIES = Object.entries(ERRORS) as readonly (readonly [ErrorCode, ErrorEntry])[]

describe.each(ENTRIES)('%s', (code, entry) => {
  test('is raised somewhere, or told in place of one that is', () => {
    // Named in a comparison only, it could never come.
    const uses = SOURCES.matchAll(new RegExp(`(?<![=!]== )'${code}'`, 'g'))
    // The one code with a class of its own in errors.ts.
    if (code === 'LIMIT_RATE') return expect(SOURCES).toContain('new RateError(')
    const inPlaceOf = ENTRIES.filter(([, { says }]) => says === code)
    expect([...uses].length + inPlaceOf.length).toBeGreaterThan(0)
  })

  test('has a family in front, and an HTTP status of a refusal', () => {
    expect(code).toMatch(
      /^(REQUEST|TOKEN|CALLER|METADATA|SOURCE|AGENT|LIMIT|ADMIN|POLICY|PROOF|PROC|CONFIG|KEPT|ACTIVATION|VERIFY|AUDIT|DIRECTORY|LISTEN|TPM|SOCKET|LOCKDOWN|UI|FIREWALL|FILE|ROLE|ACCOUNT|ENROL|REGISTRAR|FEDERATION)_|^INTERNAL$/,
    )
    expect(entry.status).toBeGreaterThanOrEqual(400)
    expect(entry.status).toBeLessThan(600)
  })

  test('says one sentence, and one that helps', () => {
    for (const text of [entry.sentence, entry.remedy]) {
      expect(text).toMatch(/^[A-Z][^\n]*\.$/)
      expect(text.length).toBeLessThan(120)
    }
    expect(entry.remedy).not.toBe(entry.sentence)
  })

  test('is told outside by a code of the table, which is told as it is', () => {
    if (entry.says === undefined) return
    expect(Object.keys(ERRORS)).toContain(entry.says)
    const outside: ErrorEntry = ERRORS[outsideCode(code)]
    expect(outsideCode(code)).toBe(entry.says)
    expect(outside.says).toBeUndefined()
    // Otherwise the status would tell them apart.
    expect(outside.status).toBe(entry.status)
  })
})

test('stands once in the table, beside its family', () => {
  const table = readFileSync(join(SRC, 'error-table.ts'), 'utf8')
  const codes = [...table.matchAll(/^ +([A-Z_]+): \{$/gm)].map(([, code = '']) => code)
  expect(codes).toEqual(Object.keys(ERRORS))
  const families = codes.map((code) => code.split('_', 1)[0])
  const changes = families.filter((family, at) => family !== families[at - 1])
  expect(changes).toEqual([...new Set(families)])
})

test('every code named in the sources is in the table', () => {
  const named = [...SOURCES.matchAll(/new MetabindError\(\s*'([A-Z_]+)'/g)].map(([, code]) => code)
  expect(named.length).toBeGreaterThan(40)
  expect(named.filter((code) => !Object.hasOwn(ERRORS, code ?? ''))).toEqual([])
})

test('foreign, forged and mistyped tokens cannot be told apart from outside', () => {
  const codes: readonly ErrorCode[] = [
    ...(['TOKEN_MALFORMED', 'TOKEN_VERSION', 'TOKEN_FOREIGN'] as const),
    ...(['TOKEN_EPOCH', 'TOKEN_FORGED', 'TOKEN_REVOKED'] as const),
  ]
  expect(new Set(codes.map(outsideCode))).toEqual(new Set(['TOKEN_INVALID']))
})

describe('an error', () => {
  test('has the sentence of its code, and then its detail', () => {
    expect(new MetabindError('TPM_OTHER').message).toBe(ERRORS.TPM_OTHER.sentence)
    const detailed = new MetabindError('TPM_OTHER', 'a Name differs')
    expect(detailed.message).toBe(`${ERRORS.TPM_OTHER.sentence} a Name differs`)
    expect(detailed).toMatchObject({ code: 'TPM_OTHER', detail: 'a Name differs' })
  })

  test('is logged with its causes, outermost first, and no more than eight of them', () => {
    const cause = new Error('inner', { cause: new Error('innermost') })
    const error = new MetabindError('SOURCE_DOWN', 'GET', cause)
    expect(causeChain(error)).toBe(`${ERRORS.SOURCE_DOWN.sentence} GET: inner: innermost`)
    const loop = new Error('again')
    loop.cause = loop
    expect(causeChain(loop)).toBe(Array(8).fill('again').join(': '))
    expect(causeChain('not an error')).toBe('not an error')
  })
})
