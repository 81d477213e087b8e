import { statSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Cgroups, cgroups, cgroupTree } from '../../src/caller/cgroup-tree.ts'
import { makeCgroup, type TestCgroup } from '../harness/cgroup.ts'
import { withoutDescriptors } from '../harness/descriptors.ts'

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
  const time = { nowMs: 5000 }
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

describe('a unit with a cgroup below it', () => {
  const name = `metabind-test-tree-${process.pid}.service`
  const deep = `${name}/below`
  /** An id that no cgroup has. */
  const missing = (nth: number) => BigInt(nth) << 40n
  let made: TestCgroup[]

  beforeEach(async (context) => {
    made = []
    for (const path of [name, deep]) {
      const cgroup = await makeCgroup(path)
      if (cgroup === undefined) return context.skip('no cgroup can be made here')
      made.push(cgroup)
    }
  })

  afterEach(async () => {
    for (const cgroup of made.reverse()) await cgroup.remove()
  })

  /** Whether it is answered without a look at the tree, which would need a descriptor. */
  function isRemembered(places: Cgroups, id: bigint): boolean {
    return withoutDescriptors(() => {
      try {
        places.pathOf(id, 1000)
        return true
      } catch {
        return false
      }
    })
  }

  const below = () =>
    [...cgroupTree()].filter(({ path }) => path.startsWith(`/${name}`)).map(({ path }) => path)

  test('is given with that, and without the files in either', () => {
    expect(below()).toEqual([`/${name}`, `/${deep}`])
  })

  test('is given without it if nobody wants to go on', () => {
    const asked: string[] = []
    const tree = cgroupTree((path) => {
      asked.push(path)
      return path === '/'
    })
    const paths = [...tree].map(({ path }) => path)
    expect(paths).toContain(`/${name}`)
    expect(paths).not.toContain(`/${deep}`)
    expect(asked).toEqual(paths)
  })

  test('that ends while the tree is gone through has nothing below it', async () => {
    const paths: string[] = []
    for (const { path } of cgroupTree()) {
      paths.push(path)
      if (path === `/${deep}`) await made.pop()?.remove()
    }
    expect(paths.filter((path) => path.startsWith(`/${name}`))).toEqual([`/${name}`, `/${deep}`])
  })

  test('is not taken for one with nothing below it for want of a descriptor', () => {
    const noDescriptor = expect.objectContaining({ code: 'EMFILE' })
    withoutDescriptors(() => {
      expect(() => below()).toThrow(noDescriptor)
      expect(() => cgroups(() => 0).pathOf(idOf(deep), 0)).toThrow(noDescriptor)
    })
    expect(below()).toEqual([`/${name}`, `/${deep}`])
  })

  test('ends the search that was for it', () => {
    const places = cgroups(() => 0)
    expect(places.pathOf(idOf(name), 1000)).toBe(`/${name}`)
    expect(isRemembered(places, idOf(name))).toBe(true)
    expect(isRemembered(places, idOf(deep))).toBe(false)
  })

  test('one that is missing is looked for again after a second', () => {
    const time = { nowMs: 5000 }
    const places = cgroups(() => time.nowMs)
    expect(places.pathOf(missing(1), 1000)).toBeUndefined()
    time.nowMs += 999
    expect(isRemembered(places, missing(1))).toBe(true)
    time.nowMs += 1
    expect(isRemembered(places, missing(1))).toBe(false)
  })

  test('so many that are missing are remembered, and then these are forgotten', () => {
    const places = cgroups(() => 5000, undefined, 2)
    for (const nth of [1, 2]) places.pathOf(missing(nth), 1000)
    expect([1, 2].map((nth) => isRemembered(places, missing(nth)))).toEqual([true, true])
    places.pathOf(missing(3), 1000)
    expect([3, 1].map((nth) => isRemembered(places, missing(nth)))).toEqual([true, false])
  })

  test('so many paths are remembered: one that ended is forgotten with the others', async () => {
    const places = cgroups(() => 5000, undefined, 2)
    const id = idOf(deep)
    expect(places.pathOf(id, 1000)).toBe(`/${deep}`)
    await made.pop()?.remove()
    expect(places.pathOf(id, 1000)).toBe(`/${deep}`)
    places.pathOf(missing(1), 1000)
    expect(places.pathOf(id, 1000)).toBeUndefined()
  })

  test('one that was forgotten is found again at once', async () => {
    const places = cgroups(() => 5000, undefined, 2)
    expect(places.pathOf(idOf(deep), 1000)).toBe(`/${deep}`)
    const other = `metabind-test-other-${process.pid}.service`
    const beside = await makeCgroup(other)
    if (beside !== undefined) made.push(beside)
    // It is found before anything below a unit is looked at.
    expect(places.pathOf(idOf(other), 1000)).toBe(`/${other}`)
    expect(places.pathOf(idOf(deep), 1000)).toBe(`/${deep}`)
  })
})
