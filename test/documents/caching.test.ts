import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import {
  CREDENTIAL_LIFE_MS_MAX,
  REFRESH_BEFORE_MS,
  REFRESH_JITTER_MS,
  SDK_STALE_MS,
} from '../../src/relay/credentials.ts'
import { SAME_AGAIN_MS } from '../../src/relay/entry.ts'
import { CONNECTIONS_MAX } from '../../src/relay/exchange.ts'
import { SOON_MS } from '../../src/relay/flights.ts'
import { KEEP_AFTER_MS, KEPT_BYTES_MAX } from '../../src/relay/kept-items.ts'
import { LIFETIME_TABLES, LIFETIMES, lifetimesBy } from '../../src/relay/lifetimes.ts'
import { ROLE_LIST_MS } from '../../src/relay/metadata.ts'
import { HOLD_MS, HOLD_MS_MAX } from '../../src/relay/setbacks.ts'

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

  for (const [dialect, rows] of Object.entries(LIFETIME_TABLES)) {
    test(`tells the class of each path of ${dialect}`, () => {
      expect(table('Path', `### ${dialect}`)).toEqual(rows)
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
      told(HOLD_MS / 1000),
      told(HOLD_MS_MAX / 1000),
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
    expect(items?.[1]).toContain(`${KEPT_BYTES_MAX / 1_048_576} MiB`)
    expect(items?.[2]).toContain(`${KEEP_AFTER_MS / 1000} s`)
  })
})

describe('the class of a path', () => {
  const classOf = lifetimesBy(LIFETIME_TABLES.aliyun)
  const cases = [
    ['/latest/meta-data/instance-id', 'boot'],
    ['/2016-01-01/meta-data/instance-id', 'boot'],
    ['/latest/meta-data/instance-id/more', 'short'],
    ['/latest/meta-data/instance-idx', 'short'],
    ['/latest/meta-data', 'short'],
    ['/latest/meta-data/ram/security-credentials', 'short'],
    ['/latest/meta-data/ram/security-credentials/app', 'credentials'],
    ['/latest/meta-data/ram/security-credentials/app/x', 'short'],
    ['/latest/meta-data/instance/spot', 'brief'],
    ['/latest/meta-data/instance/spot/termination-time', 'brief'],
    ['/latest/maintenance/active-system-events', 'brief'],
    ['/latest/dynamic/instance-identity/pkcs7', 'short'],
    ['/latest/user-data', 'short'],
    ['/', 'short'],
  ] as const
  for (const [path, name] of cases) {
    test(`${path}: ${name}`, () => expect(classOf(path, undefined)).toBe(name))
  }
  test('with a query: once', () => {
    expect(classOf('/latest/dynamic/instance-identity/pkcs7', 'audience=x')).toBe('once')
    expect(classOf('/latest/meta-data/instance-id', 'audience=x')).toBe('once')
  })
})
