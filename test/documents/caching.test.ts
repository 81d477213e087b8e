import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { BACKOFF_MS, BACKOFF_MS_MAX } from '../../src/metadata/backoff.ts'
import {
  CREDENTIAL_LIFE_MS_MAX,
  REFRESH_BEFORE_MS,
  REFRESH_JITTER_MS,
  SDK_STALE_MS,
} from '../../src/metadata/credential-times.ts'
import { CONNECTIONS_MAX } from '../../src/metadata/exchange.ts'
import { SAME_AGAIN_MS } from '../../src/metadata/freshness.ts'
import { LIFETIMES, patternOf } from '../../src/metadata/lifetimes.ts'
import { ROLE_LIST_MS } from '../../src/metadata/metadata.ts'
import { SNAPSHOT_BYTES_MAX, WRITE_AFTER_MS } from '../../src/metadata/sealed-cache.ts'
import { SOON_MS } from '../../src/metadata/singleflight.ts'
import type { Cloud } from '../../src/simulate/cloud.ts'
import { CLOUDS } from '../../src/simulate/clouds.ts'
import { describeInstance } from '../../src/simulate/instance.ts'
import { type Directory, isDirectory } from '../../src/simulate/tree.ts'

const text = readFileSync(new URL('../../docs/caching.md', import.meta.url), 'utf8')

/** The rows of the first table whose header begins with this cell, its cells without code marks. */
function table(firstHeader: string, below = ''): string[][] {
  const lines = text.slice(text.indexOf(below)).split('\n')
  const head = lines.findIndex((line) => line.startsWith(`| ${firstHeader} |`))
  expect(head).toBeGreaterThan(-1)
  const end = lines.findIndex((line, at) => at > head && !line.startsWith('|'))
  return lines.slice(head + 2, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

/** Every path of a simulated instance that has everything, below the version. */
function pathsOf(cloud: Cloud): string[] {
  const instance = describeInstance('i-every', cloud.regionId, cloud.zoneOf(cloud.regionId))
  const equipment = {
    role: { name: 'role', credentials: () => '' },
    tags: { tag: 'x' },
    spotTerminationTime: 'x',
    userData: Buffer.from('x'),
    vendorData: Buffer.from('x'),
  }
  const below = (node: Directory): string[] =>
    [...node].flatMap(([name, child]) =>
      isDirectory(child) ? [name, ...below(child).map((path) => `${name}/${path}`)] : [name],
    )
  const listed = below(cloud.listed(instance, equipment, 'x'))
  return [...listed, ...cloud.unlisted(instance, equipment).keys()]
}

function told(seconds: number): string {
  if (seconds === Number.POSITIVE_INFINITY) return 'the boot'
  return seconds >= 3600 ? `${seconds / 3600} h` : `${seconds} s`
}

describe('docs/caching.md', () => {
  test('tells the lifetimes of each class', () => {
    const rows = Object.entries(LIFETIMES).map(([name, lifetime]) => {
      const absent = [told(lifetime.absentFreshSeconds), told(lifetime.absentStaleSeconds)]
      if (name === 'once') return [name, ...Array(4).fill('never kept')]
      if (name === 'credentials') return [name, 'see below', 'see below', ...absent]
      return [name, told(lifetime.freshSeconds), told(lifetime.staleSeconds), ...absent]
    })
    expect(table('Class')).toEqual(rows)
    expect(Object.values(LIFETIMES.once)).toEqual([0, 0, 0, 0])
  })

  for (const [dialect, { lifetimes }] of Object.entries(DIALECTS)) {
    test(`tells the class of each path of ${dialect}`, () => {
      expect(table('Path', `### ${dialect}`).map((row) => row.slice(0, 2))).toEqual(lifetimes)
    })
  }

  for (const [dialect, cloud] of Object.entries(CLOUDS)) {
    test(`tells of each path of ${dialect} who polls it, and how long they wait`, () => {
      const section = `### ${dialect}`
      const rows = [...table('Path', section), ...table('Everything else', section)]
      for (const [path, ...cells] of rows) expect([path, cells.at(-1)]).not.toEqual([path, ''])
      const patterns = rows.flatMap(([paths = '']) => paths.split(', ').map(patternOf))
      const told = (path: string) => patterns.some((pattern) => pattern.test(path))
      expect(pathsOf(cloud).filter((path) => !told(path))).toEqual([])
    })
  }

  test('tells the numbers of credentials', () => {
    const numbers = table('Rule').map(([, number]) => number)
    const minutes = (ms: number) => `${ms / 60_000} min`
    expect(numbers).toEqual([
      minutes(REFRESH_BEFORE_MS),
      minutes(REFRESH_JITTER_MS),
      told(SAME_AGAIN_MS.most / 1000),
      minutes(SDK_STALE_MS),
      told(SAME_AGAIN_MS.least / 1000),
      told(CREDENTIAL_LIFE_MS_MAX / 1000),
      told(ROLE_LIST_MS / 1000),
    ])
  })

  test('tells the numbers of the source', () => {
    const { source } = parseConfig([])
    const timeout = `source.timeout_ms, ${source.timeout_ms} ms`
    expect(table('Rule', '## The source').map(([, number]) => number)).toEqual([
      '1',
      timeout,
      `${SOON_MS} ms`,
      timeout,
      told(BACKOFF_MS / 1000),
      told(BACKOFF_MS_MAX / 1000),
      String(CONNECTIONS_MAX),
    ])
  })

  test('tells the bounds and their defaults', () => {
    const defaults: Record<string, number> = parseConfig([]).cache
    for (const [option = '', ...numbers] of table('Option')) {
      const key = option.replace('cache.', '')
      const [byDefault = 0, least = 0, most = 0] = numbers.map(Number)
      expect(defaults[key]).toBe(byDefault)
      const set = (value: number) =>
        parseConfig([{ file: 'x', text: `[cache]\n${key} = ${value}\n` }]).cache
      for (const good of [least, most]) expect(set(good)).toMatchObject({ [key]: good })
      for (const bad of [least - 1, most + 1]) expect(() => set(bad)).toThrow(`cache.${key}`)
    }
    expect(table('Option').map(([option]) => option)).toEqual(
      Object.keys(defaults).map((key) => `cache.${key}`),
    )
  })

  test('tells what is kept over a restart', () => {
    const [, items] = table('File')
    expect(items?.[1]).toContain(`${SNAPSHOT_BYTES_MAX / 1_048_576} MiB`)
    expect(items?.[2]).toContain(`${WRITE_AFTER_MS / 1000} s`)
  })
})
