import { statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cgroups } from '../../src/relay/cgroup.ts'
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
