import { randomBytes, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { akAuthority } from '../../src/registrar/ak-authority.ts'
import { type KeyRing, keyRing } from '../../src/registrar-keys/key-ring.ts'
import type { KeyKind } from '../../src/registrar-keys/key-schedule.ts'
import { keyStore } from '../../src/registrar-keys/key-store.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { type KeyToken, openKeyToken } from '../../src/registrar-keys/pkcs11-token.ts'
import type { KeyStore } from '../../src/registrar-keys/private-key.ts'
import { signedJwt } from '../../src/registrar-keys/signed-jwt.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { Secret } from '../../src/secret.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { type SoftHsm, softHsm } from '../harness/softhsm.ts'

/** Keys that are made, change and end in the database and in a token, with a clock that the test sets. */

const DAY_MS = 86_400_000
const KINDS: readonly KeyKind[] = ['RS256', 'ES256', 'wit']
const master = masterKey(new Secret(randomBytes(32)))

let stack: AsyncDisposableStack
let directory: string
let hsm: SoftHsm
let token: KeyToken
let nowMs: number
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
  hsm = await softHsm(join(directory, 'hsm'))
  process.env.SOFTHSM2_CONF = hsm.env.SOFTHSM2_CONF
  const { module, label, pinFile: pin } = hsm
  token = await openKeyToken({ module, token: label, pin }, () => undefined)
  stack.defer(() => token.close())
  nowMs = Date.UTC(2026, 10, 29)
})
afterEach(() => stack.disposeAsync())

function database() {
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  return repository
}

const storeOf = (newKeys: 'token' | 'database', isConfigured = true): KeyStore =>
  keyStore({ master, token: isConfigured ? token : undefined, newKeys })

function ringOf(store: KeyStore): KeyRing {
  const schedule = { rotateMs: 30 * DAY_MS, overlapMs: DAY_MS / 2 }
  return keyRing({ repository: database(), store, schedule, kinds: KINDS, nowMs: () => nowMs })
}

async function verified(ring: KeyRing): Promise<void> {
  const keys = ring.published.map(({ kid, alg, jwk }) => ({ ...jwk, kid, alg }))
  for (const kind of KINDS) {
    const jwt = await signedJwt(ring, kind, 'JWT', { sub: 'one' })
    await jwtVerify(jwt.reveal(), createLocalJWKSet({ keys }))
  }
}

/** The ids of the objects in the token, of one class. */
const idsIn = (type: 'privkey' | 'pubkey') =>
  [...hsm.tool('--list-objects', '--type', type).matchAll(/ID: +([0-9a-f]+)/g)].map(([, id]) => id)

/** One change of all keys: until the next ones sign, and the last ones are over. */
async function oneRotation(ring: KeyRing): Promise<void> {
  nowMs += 29.6 * DAY_MS
  await ring.refresh()
  await verified(ring)
  nowMs += DAY_MS / 2
  await ring.refresh()
  await verified(ring)
  nowMs += DAY_MS / 2
  await ring.refresh()
  await verified(ring)
}

describe('keys in a token', () => {
  test('change there, and those that are over are destroyed', async () => {
    const ring = ringOf(storeOf('token'))
    await ring.refresh()
    await verified(ring)
    const first = idsIn('privkey')
    expect(first).toHaveLength(3)
    await oneRotation(ring)
    for (const type of ['privkey', 'pubkey'] as const) {
      expect(idsIn(type)).toHaveLength(3)
      expect(idsIn(type).filter((id) => first.includes(id))).toEqual([])
    }
  })

  test('one that the token lost already, or whose end was cut short, is no fault', async () => {
    const ring = ringOf(storeOf('token'))
    await ring.refresh()
    for (const id of idsIn('privkey')) {
      hsm.tool('--delete-object', '--type', 'privkey', '--id', String(id))
    }
    nowMs += 29.6 * DAY_MS
    await ring.refresh()
    nowMs += DAY_MS
    await ring.refresh()
    await verified(ring)
    expect(ring.published).toHaveLength(3)
    expect(idsIn('pubkey')).toHaveLength(3)
  })

  test('replicas that begin together have the same keys, and what one made in vain is destroyed', async () => {
    const [one, other] = [ringOf(storeOf('token')), ringOf(storeOf('token'))]
    await Promise.all([one.refresh(), other.refresh()])
    await Promise.all([one.refresh(), other.refresh()])
    expect(one.published.map(({ kid }) => kid)).toEqual(other.published.map(({ kid }) => kid))
    await verified(one)
    await verified(other)
    expect(idsIn('privkey')).toHaveLength(3)
  })

  test('certify attestation keys, a year each', async () => {
    const url = 'https://registrar.example'
    const store = storeOf('token')
    const authority = akAuthority({ url, repository: database(), store, nowMs: () => nowMs })
    await authority.refresh()
    const [first] = idsIn('privkey')
    const spki = new X509Certificate(authority.published).publicKey.export({
      type: 'spki',
      format: 'der',
    })
    const ak = { spki: spki.toString('base64'), instance: 'aliyun:i-one' }
    // r and s are numbers of any length.
    for (let count = 0; count < 20; count += 1) {
      const [leaf = Buffer.alloc(0), issuer = Buffer.alloc(0)] = await authority.certify(ak, nowMs)
      const { publicKey } = new X509Certificate(issuer)
      expect(new X509Certificate(leaf).verify(publicKey)).toBe(true)
    }
    for (const days of [334, 31, 31]) {
      nowMs += days * DAY_MS
      await authority.refresh()
    }
    expect(idsIn('privkey')).toHaveLength(1)
    expect(idsIn('privkey')).not.toContain(first)
  })
})

test('from the database into the token, and back: keys go on where they are, and one rotation changes all', async () => {
  const before = ringOf(storeOf('database', false))
  await before.refresh()
  const kids = (ring: KeyRing) => ring.published.map(({ kid }) => kid)
  const sealed = kids(before)

  const turnedOn = ringOf(storeOf('token'))
  await turnedOn.refresh()
  expect(kids(turnedOn)).toEqual(sealed)
  await verified(turnedOn)
  expect(idsIn('privkey')).toEqual([])
  await oneRotation(turnedOn)
  expect(kids(turnedOn).filter((kid) => sealed.includes(kid))).toEqual([])
  expect(idsIn('privkey')).toHaveLength(3)

  const turnedOff = ringOf(storeOf('database'))
  await turnedOff.refresh()
  await verified(turnedOff)
  await oneRotation(turnedOff)
  expect(idsIn('privkey')).toEqual([])
  const without = ringOf(storeOf('database', false))
  await without.refresh()
  await verified(without)
})

describe('who has the database alone', () => {
  test('signs nothing: a key of the token is published, and refused', async () => {
    await ringOf(storeOf('token')).refresh()
    const copy = ringOf(storeOf('database', false))
    await copy.refresh()
    expect(copy.published).toHaveLength(3)
    await expect(verified(copy)).rejects.toMatchObject({ code: 'REGISTRAR_HSM' })
  })

  test.each(['token', 'database'] as const)(
    'has no key of its own published in the place of one in the %s',
    async (place) => {
      await ringOf(storeOf(place)).refresh()
      const rows = new DatabaseSync(join(directory, 'registrar.db'))
      const own = await storeOf('database').make('ES256', 'ES256')
      rows
        .prepare(`UPDATE signing_keys SET kid = 'own', public_jwk = ? WHERE algorithm = 'ES256'`)
        .run(JSON.stringify(own.key.publicJwk))
      rows.close()
      const ring = ringOf(storeOf(place))
      await expect(ring.refresh()).rejects.toMatchObject({ code: 'REGISTRAR_DATABASE' })
      expect(JSON.stringify(ring.published)).not.toContain('own')
    },
  )
})

test.each([
  ['\n', 0o600, /is empty/],
  ['1234\n', 0o644, /accessible to others/],
  [undefined, 0o600, /it is not there/],
])('a file of the PIN with %j and mode %i is not used, and said', async (text, mode, message) => {
  const pin = join(directory, 'another-pin')
  if (text !== undefined) await writeFile(pin, text, { mode })
  const { module, label } = hsm
  const other = await openKeyToken({ module, token: label, pin }, () => undefined)
  stack.defer(() => other.close())
  await expect(other.open()).rejects.toMatchObject({
    code: 'REGISTRAR_HSM',
    message: expect.stringMatching(message),
  })
})
