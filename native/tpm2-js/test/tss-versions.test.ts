import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { prototypes } from '../src/tss-prototypes.ts'
import { LATER, OLDEST } from '../src/tss-versions.ts'

/** Each function that is called, against the release of tpm2-tss that first had it. */

const used = prototypes().map(([name]) => name)
const since = new Map(
  readFileSync(new URL('symbols.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line): [string, string] => [line.split(' ')[0] ?? '', line.split(' ')[1] ?? '']),
)

const isLater = (version: string, than: string) =>
  version.localeCompare(than, 'en', { numeric: true }) > 0

test('symbols.txt has a line for each function that is called, and no other', () => {
  expect([...since.keys()].sort()).toEqual([...used].sort())
})

test('what is younger than the oldest version has something in its place', () => {
  const younger = [...since].filter(([, version]) => isLater(version, OLDEST))
  const later = Object.entries(LATER).map(([name, row]) => [name, row.since])
  expect(younger).toEqual(later)
})

const DPKG = '/var/lib/dpkg/info'
const symbolsFiles = (() => {
  try {
    return readdirSync(DPKG).filter((name) =>
      /^libtss2-(esys|sys|mu|rc|tctildr).*\.symbols$/.test(name),
    )
  } catch {
    return []
  }
})()

test.skipIf(symbolsFiles.length === 0)('Debian knows each of them, and not from before', () => {
  const debian = new Map<string, string>()
  for (const file of symbolsFiles) {
    for (const line of readFileSync(`${DPKG}/${file}`, 'utf8').split('\n')) {
      const [, name = '', version = ''] = /^ (\w+)@\S+ (\d+(?:\.\d+)*)/.exec(line) ?? []
      debian.set(name, version)
    }
  }
  expect(used.filter((name) => !debian.has(name))).toEqual([])
  // Debian counts from when the package got its name, so it may say a later version.
  expect(used.filter((name) => isLater(since.get(name) ?? '', debian.get(name) ?? ''))).toEqual([])
  expect(debian.get('Esys_TR_GetTpmHandle')).toBe(LATER.Esys_TR_GetTpmHandle.since)
})
