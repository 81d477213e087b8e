import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { isRelayed, knowsPath } from '../../src/relay/known-path.ts'
import { DIALECT as dialect, type RelayParts, relayParts } from '../harness/relay-parts.ts'

let parts: RelayParts
let misses: number
const onMiss = () => {
  misses += 1
}

beforeAll(async () => {
  parts = await relayParts()
})
afterAll(() => parts.stop())
beforeEach(() => {
  misses = 0
  parts.cloud.faults.clear()
})

const knows = (path: string) => knowsPath(parts.deps, path, onMiss)
const askedOfCloud = (path: string) =>
  parts.cloud.requests.filter(({ target }) => target === path).length

test('only versions of the service, and the list of them, are the source’s', () => {
  const relayed = ['/', ...dialect.versions.flatMap((one) => [`/${one}`, `/${one}/meta-data`])]
  expect(relayed.filter((path) => !isRelayed(path, dialect))).toEqual([])
  const others = ['/etc/passwd', '/metabind/v1', '/late', '/latest2', '/x/latest', '/latest-x/y']
  expect(others.filter((path) => isRelayed(path, dialect))).toEqual([])
})

test('its own paths the agent knows without asking, and of others that nothing is there', async () => {
  const own = ['whoami', 'inspect', 'identity', 'token', 'credentials-uri'].map(
    (name) => `/metabind/v1/${name}`,
  )
  expect(await knows(dialect.tokenPath)).toBe(true)
  for (const path of own) expect(await knows(path)).toBe(true)
  for (const path of ['/metabind/v1/nothing', '/etc/passwd']) expect(await knows(path)).toBe(false)
  expect(misses).toBe(0)
})

test('of the source’s paths it knows what the source says, and asks before it asks the source', async () => {
  expect(await knows('/latest/meta-data/mac')).toBe(true)
  expect(misses).toBe(1)
  expect(await knows('/latest/meta-data/no-such')).toBe(false)
  expect(misses).toBe(2)
  expect(await knowsPath(parts.deps, '/latest/meta-data/zone-id')).toBe(true)
})

test('who may not have the source asked is told so, and it is not asked', async () => {
  const path = '/latest/meta-data/region-id'
  const refused = knowsPath(parts.deps, path, () => {
    throw new MetabindError('LIMIT_RATE')
  })
  await expect(refused).rejects.toMatchObject({ code: 'LIMIT_RATE' })
  expect(askedOfCloud(path)).toBe(0)
  const broken = knowsPath(parts.deps, path, () => {
    throw new TypeError('a fault of the program')
  })
  await expect(broken).rejects.toThrow(TypeError)
})

test('what the source does not say now is not known', async () => {
  parts.cloud.faults.set({ kind: 'status', code: 500 })
  expect(await knows('/latest/meta-data/instance/instance-type')).toBeUndefined()
})
