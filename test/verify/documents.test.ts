import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'
import { evidenceSchema } from '../../src/format/evidence.ts'
import * as library from '../../src/verify/index.ts'

/** The pages for strangers say what the program does. */

const verifyPage = readFileSync('docs/verify.md', 'utf8')
const evidencePage = readFileSync('docs/evidence.md', 'utf8')

describe('docs/verify.md', () => {
  test('names every code', () => {
    const codes = Object.keys(ERRORS).filter((code) => code.startsWith('VERIFY_'))
    expect(codes.filter((code) => !verifyPage.includes(`\`${code}\``))).toEqual([])
  })

  test('names no code that there is not', () => {
    const named = [...verifyPage.matchAll(/`(VERIFY_[A-Z_]+)`/g)].map(([, code = '']) => code)
    expect(named.filter((code) => !Object.hasOwn(ERRORS, code))).toEqual([])
  })

  test('has the checks in their order', () => {
    const rows = [...verifyPage.matchAll(/^\| ([^|]+) \|/gm)].map(([, name = '']) => name.trim())
    const named = library.CHECKS.map(({ name }) => name).filter((name) => rows.includes(name))
    const inPage = rows.filter((row) => named.includes(row))
    expect(inPage).toEqual(named)
    const others = library.CHECKS.map(({ name }) => name).filter((name) => !rows.includes(name))
    expect(others.filter((name) => !name.startsWith('certification of '))).toEqual([])
  })
})

describe('docs/evidence.md', () => {
  test('names every member', () => {
    const members = Object.keys(evidenceSchema.shape)
    const isNamed = (member: string) => new RegExp(`\`${member}[.\`]`).test(evidencePage)
    expect(members.filter((member) => !isNamed(member))).toEqual([])
  })
})
