import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { calculateJwkThumbprint, importJWK } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { publicDocuments } from '../../src/registrar/discovery.ts'
import { spiffeBundle } from '../../src/registrar/spiffe-bundle.ts'
import { type KeyRing, keyRing } from '../../src/registrar-keys/key-ring.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { markRotated } from '../../src/registrar-keys/rotate-mark.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { Secret } from '../../src/secret.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const DAY_MS = 86_400_000
const URL_OF_REGISTRAR = 'https://registrar.example'
const bundleSchema = z.looseObject({ spiffe_sequence: z.int(), keys: z.array(z.unknown()) })
const bundleOf = ({ published }: Pick<KeyRing, 'published'>) =>
  bundleSchema.parse(spiffeBundle(published))
const master = masterKey(new Secret(randomBytes(32)))

let stack: AsyncDisposableStack
let directory: string
let nowMs: number
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
  nowMs = Date.UTC(2026, 10, 29)
})
afterEach(() => stack.disposeAsync())

/** One replica more on the same database. */
function replica(under = master) {
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  const schedule = { rotateMs: 30 * DAY_MS, overlapMs: DAY_MS / 2 }
  return keyRing({
    repository,
    store: sealedKeys(under),
    schedule,
    kinds: ['RS256', 'ES256', 'wit'],
    nowMs: () => nowMs,
  })
}

const documentsOf = (ring: KeyRing) =>
  publicDocuments(URL_OF_REGISTRAR, 'fleet.example', ring, { token: () => '' }, { published: '' })

const kids = (ring: ReturnType<typeof replica>) => ring.published.map(({ kid }) => kid).toSorted()

test('keys are published with what verifiers want, and nothing of the private ones', async () => {
  const ring = replica()
  await ring.refresh()
  expect(ring.published.map(({ kind, alg, jwk }) => [kind, alg, jwk.kty])).toEqual(
    expect.arrayContaining([
      ['RS256', 'RS256', 'RSA'],
      ['ES256', 'ES256', 'EC'],
      ['wit', 'ES256', 'EC'],
    ]),
  )
  for (const { kid, alg, jwk } of ring.published) {
    expect(await calculateJwkThumbprint(jwk)).toBe(kid)
    await importJWK({ ...jwk }, alg)
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi']) expect(jwk).not.toHaveProperty(secret)
  }
  const publicBytes = JSON.stringify(documentsOf(ring).map(({ content }) => content()))
  expect(publicBytes).not.toMatch(/"(?:d|p|q|key|sealed)":/)
})

test('what verifiers read is made once for each set of keys', async () => {
  const ring = replica()
  await ring.refresh()
  const documents = documentsOf(ring).filter(({ path }) => /^\/(?:wit\/)?jwks|bundle/.test(path))
  expect(documents).toHaveLength(3)
  const now = () => documents.map(({ content }) => content())
  const first = now()
  for (const [at, again] of now().entries()) expect(again).toBe(first[at])
  nowMs += 29.6 * DAY_MS
  await ring.refresh()
  for (const [at, next] of now().entries()) expect(next).not.toEqual(first[at])
})

test('replicas that begin together have the same keys, and the second makes none', async () => {
  const [one, other] = [replica(), replica()]
  await Promise.all([one.refresh(), other.refresh()])
  await Promise.all([one.refresh(), other.refresh()])
  expect(kids(one)).toEqual(kids(other))
  expect(one.published).toHaveLength(3)
  expect(one.signing('ES256').kid).toBe(other.signing('ES256').kid)
})

test.each(['RS256', 'ES256', 'wit'] as const)(
  '%s: at a change of keys the next is published first, and the last stays for a while',
  async (kind) => {
    const ring = replica()
    await ring.refresh()
    const first = ring.signing(kind).kid
    nowMs += 29.6 * DAY_MS
    await ring.refresh()
    expect(ring.published).toHaveLength(6)
    expect(ring.signing(kind).kid).toBe(first)
    nowMs += DAY_MS / 2
    expect(ring.signing(kind).kid).not.toBe(first)
    await ring.refresh()
    expect(kids(ring)).toContain(first)
    nowMs += DAY_MS / 2
    await ring.refresh()
    expect(kids(ring)).not.toContain(first)
    expect(ring.published).toHaveLength(3)
  },
)

test('who wants other keys has each kind make one, once, that signs when it was published for long enough', async () => {
  const ring = replica()
  await ring.refresh()
  nowMs += 5 * DAY_MS
  const first = kids(ring)
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  await markRotated(repository, 'test', nowMs)
  for (const other of [ring, replica(), ring]) await other.refresh()
  nowMs += DAY_MS / 2 - 1
  await ring.refresh()
  expect(ring.published).toHaveLength(6)
  expect(first).toContain(ring.signing('ES256').kid)
  nowMs += 1
  expect(first).not.toContain(ring.signing('ES256').kid)
  nowMs += DAY_MS / 2
  await ring.refresh()
  expect(kids(ring).filter((kid) => first.includes(kid))).toEqual([])
  expect(ring.published).toHaveLength(3)
  nowMs += 10 * DAY_MS
  await ring.refresh()
  expect(ring.published).toHaveLength(3)
})

test('the number of the SPIFFE bundle goes up with each of its changes, and with nothing else', async () => {
  const [ring, other] = [replica(), replica()]
  const numbers = new Map<string, number>()
  let last = 0
  for (let hour = 0; hour < 24 * 65; hour += 6, nowMs += DAY_MS / 4) {
    await ring.refresh()
    const { spiffe_sequence: number, keys } = bundleOf(ring)
    const content = JSON.stringify(keys)
    expect(number).toBe(numbers.get(content) ?? number)
    if (!numbers.has(content)) expect(number).toBeGreaterThan(last)
    numbers.set(content, number)
    last = number
  }
  expect(numbers.size).toBeGreaterThanOrEqual(5)
  expect(Number.isSafeInteger(last)).toBe(true)
  nowMs -= DAY_MS / 4
  await other.refresh()
  expect(bundleOf(other).spiffe_sequence).toBe(last)
})

test('the database alone has no private key, and under another master key it opens none', async () => {
  await replica().refresh()
  await expect(replica(masterKey(new Secret(randomBytes(32)))).refresh()).rejects.toMatchObject({
    code: 'REGISTRAR_DATABASE',
  })
  const files = await readdir(directory)
  const bytes = await Promise.all(files.map((name) => readFile(join(directory, name))))
  // OIDs of private keys in PKCS #8: rsaEncryption, and id-ecPublicKey with P-256.
  const marks = ['06092a864886f70d010101', '06072a8648ce3d020106082a8648ce3d030107']
  for (const mark of marks) {
    expect(bytes.some((file) => file.includes(Buffer.from(mark, 'hex')))).toBe(false)
  }
})
