import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { KERNEL_FEATURES } from '../../src/caller/kernel-features.ts'
import { CGROUP_2_KEYS, NEWER_KEYS, OLD_KEYS, OLDEST_SYSTEMD } from '../../src/cli/unit-keys.ts'

const UNITS = new URL('../../systemd/', import.meta.url)
const PAGE = readFileSync(new URL('../../docs/install.md', import.meta.url), 'utf8')

/** Keys of units and of drop-ins, of those too that are commented out to be taken up. */
const used = new Set(
  readdirSync(UNITS)
    .filter((name) => /\.(?:service|socket|conf)$/.test(name))
    .flatMap((name) => [
      ...readFileSync(new URL(name, UNITS), 'utf8').matchAll(/^#?([A-Z][A-Za-z]+)=/gm),
    ])
    .map(([, key = '']) => key),
)

test('of every key of the units it is known since when systemd has it', () => {
  expect([...OLD_KEYS, ...Object.keys(NEWER_KEYS)].sort()).toEqual([...used].sort())
  for (const { since } of Object.values(NEWER_KEYS)) expect(since).toBeGreaterThan(OLDEST_SYSTEMD)
  for (const key of Object.keys(CGROUP_2_KEYS)) expect(used).toContain(key)
})

test('docs/install.md says what older releases cannot enforce', () => {
  const [, section = ''] = PAGE.split('## What older releases cannot enforce\n')
  const [table = ''] = section.split('\n## ')
  const rows = [...table.matchAll(/^\| (.+) \| (.+) \| (.+) \|$/gm)]
    .map(([, ...cells]) => cells)
    .filter(([what = '']) => !/^(?:Older|---)/.test(what))
  expect(rows).toEqual([
    ...Object.entries(NEWER_KEYS).map(([key, { since, without }]) => [
      `systemd before ${since}`,
      `\`${key}=\``,
      without,
    ]),
    ...Object.entries(CGROUP_2_KEYS).map(([key, without]) => [
      'cgroups of version 1',
      `\`${key}=\``,
      without,
    ]),
    ...Object.values(KERNEL_FEATURES).map(({ is, since, without }) => [
      `Linux before ${since.join('.')}`,
      is,
      without,
    ]),
  ])
})
