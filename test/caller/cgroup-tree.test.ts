import { statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cgroups } from '../../src/caller/cgroup-tree.ts'
import { makeCgroup } from '../harness/cgroup.ts'

const ROOT = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']

/** As sock_diag gives it. */
function idOf(name: string): bigint {
  const found = ROOT.map((root) =>
    statSync(`${root}/${name}`, { bigint: true, throwIfNoEntry: false }),
  )
  return found.find((stat) => stat !== undefined)?.ino ?? 0n
}

test('a user whose connections come from ever new cgroups keeps nobody else from being found', async (context) => {
  const name = `metabind-test-cgroup-${process.pid}.service`
  const places = cgroups(() => 0)
  for (let id = 1n; id <= 200n; id += 1n) places.pathOf(id << 40n, 1000)
  const unit = await makeCgroup(name)
  if (unit === undefined) return context.skip('no cgroup can be made here')
  try {
    expect(places.pathOf(idOf(name), 1000)).toBe(undefined)
    expect(places.pathOf(idOf(name), 1001)).toBe(`/${name}`)
    // What is known costs no walk.
    expect(places.pathOf(idOf(name), 1000)).toBe(`/${name}`)
  } finally {
    await unit.remove()
  }
})

test('a cgroup that is not in the tree is looked for once a second, however often it is asked for', async (context) => {
  const name = `metabind-test-missed-${process.pid}.service`
  const time = { nowMs: 0 }
  const places = cgroups(() => time.nowMs)
  for (let asked = 0; asked < 200; asked += 1)
    expect(places.pathOf(1n << 40n, 1000)).toBeUndefined()
  const unit = await makeCgroup(name)
  if (unit === undefined) return context.skip('no cgroup can be made here')
  try {
    // Its user may still have the tree looked through.
    expect(places.pathOf(idOf(name), 1000)).toBe(`/${name}`)
  } finally {
    await unit.remove()
  }
})

test('so many are looked at and no more, those near the root first', async (context) => {
  const name = `metabind-test-deep-${process.pid}.service`
  const unit = await makeCgroup(name)
  if (unit === undefined) return context.skip('no cgroup can be made here')
  const below = await makeCgroup(`${name}/below`)
  try {
    // Above the one within the unit there are the root, and the unit beside others maybe.
    expect(cgroups(() => 0).pathOf(idOf(`${name}/below`), 0)).toBe(`/${name}/below`)
    expect(cgroups(() => 0, 2).pathOf(idOf(`${name}/below`), 0)).toBeUndefined()
    expect(cgroups(() => 0, 1).pathOf(idOf('.'), 0)).toBe('/')
  } finally {
    await below?.remove()
    await unit.remove()
  }
})
