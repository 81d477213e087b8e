import { expect, test } from 'vitest'
import { roleRefusals } from '../../src/metadata/role-refusals.ts'

test('a refusal is news once, until the Code is another or the role has credentials', () => {
  const roles = roleRefusals()
  expect([roles.refused('/a', 'No'), roles.refused('/a', 'No')]).toEqual([true, false])
  expect(roles.refused('/a', 'Other')).toBe(true)
  expect([roles.ended('/a'), roles.ended('/a')]).toEqual([true, false])
  expect(roles.refused('/a', 'Other')).toBe(true)
  expect(roles.list()).toEqual([{ path: '/a', code: 'Other' }])
})

test('of any number of roles the last 64 are remembered', () => {
  const roles = roleRefusals()
  for (let at = 0; at < 100; at += 1) roles.refused(`/${at}`, 'No')
  expect(roles.list().map(({ path }) => path)).toEqual(
    Array.from({ length: 64 }, (_, at) => `/${at + 36}`),
  )
})
