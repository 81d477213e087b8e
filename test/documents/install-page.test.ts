import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'

const PAGE = readFileSync(new URL('../../docs/install.md', import.meta.url), 'utf8')

test('docs/install.md explains status lines that the agent has', () => {
  const sentences = Object.values(ERRORS).map(({ sentence }): string => sentence)
  const explained = [...PAGE.matchAll(/^\| `waiting: (.+?)`/gm)].map(([, sentence]) => sentence)
  expect(explained.length).toBeGreaterThan(2)
  for (const sentence of explained) expect(sentences).toContain(sentence)
})

test('docs/install.md names units that are installed', () => {
  const units = [...PAGE.matchAll(/`(metabind[\w-]*\.(?:service|socket))`/g)].map(
    ([, unit]) => unit,
  )
  expect(new Set(units).size).toBe(8)
  for (const unit of units) {
    expect(existsSync(new URL(`../../systemd/${unit}`, import.meta.url)), unit).toBe(true)
  }
})
