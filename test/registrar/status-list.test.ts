import { inflateSync } from 'node:zlib'
import { decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { statusList } from '../../src/registrar/status-list.ts'
import { TOKEN_SECONDS_MAX } from '../../src/registrar-keys/key-schedule.ts'
import { STATUS_KEPT_MS } from '../../src/registrar-repository/repository.ts'
import { NOW_MS, otherRow } from './enrolled.ts'
import { identityToken, type TokenParts, tokenParts, URL_OF_REGISTRAR } from './token-parts.ts'

const AUDIENCES = `[[audience]]
name = "sts.example"
formats = ["id_token", "jwt_svid", "wit", "access_token"]
dpop = "optional"
`
const URI = `${URL_OF_REGISTRAR}/status-list`
let parts: TokenParts
beforeAll(async () => {
  parts = await tokenParts(AUDIENCES)
})
afterAll(() => parts[Symbol.asyncDispose]())

test('an index stands for nobody else while a token that has it may live', () => {
  expect(STATUS_KEPT_MS).toBeGreaterThan(TOKEN_SECONDS_MAX * 1000)
})

const statusSchema = z.object({
  status: z.object({ status_list: z.object({ idx: z.int(), uri: z.literal(URI) }) }),
})
const listSchema = z.object({ bits: z.literal(1), lst: z.string() })

async function statusOf(format: string): Promise<number> {
  const subject = await identityToken(parts.nowMs)
  const { access_token: token } = await parts.exchange({ subject_token: subject, format })
  return statusSchema.parse(decodeJwt(token)).status.status_list.idx
}

/** As a verifier reads it: draft-ietf-oauth-status-list-17, 8.3. @returns the bit of an index */
async function bitAt(idx: number): Promise<number> {
  await parts.statuses.refresh()
  const token = String(parts.document('/status-list'))
  const { payload } = await jwtVerify(token, parts.keysAt('/jwks.json'), {
    ...{ typ: 'statuslist+jwt', subject: URI, currentDate: new Date(parts.nowMs) },
    requiredClaims: ['iat', 'exp', 'ttl'],
  })
  const bytes = inflateSync(Buffer.from(listSchema.parse(payload.status_list).lst, 'base64url'))
  return (bytes.readUInt8(Math.floor(idx / 8)) >> (idx % 8)) & 1
}

test('tokens of all formats say where their status is, which goes with the instance', async () => {
  const idx = await statusOf('id_token')
  for (const format of ['jwt_svid', 'wit', 'access_token']) {
    expect(await statusOf(format)).toBe(idx)
  }
  expect(await bitAt(idx)).toBe(0)
  await parts.write({ state: 'suspended' })
  expect(await bitAt(idx)).toBe(1)

  await parts.write({ state: 'active' })
  const later = await statusOf('id_token')
  expect(later).not.toBe(idx)
  expect([await bitAt(idx), await bitAt(later)]).toEqual([1, 0])
})

test('a list is signed anew when something has changed, and before it is old', async () => {
  await parts.statuses.refresh()
  const list = () => String(parts.document('/status-list'))
  const first = list()
  parts.nowMs += 599_000
  await parts.statuses.refresh()
  expect(list()).toBe(first)
  parts.nowMs += 2000
  await parts.statuses.refresh()
  expect(list()).not.toBe(first)
  const { exp = 0 } = decodeJwt(first)
  expect(exp * 1000).toBeGreaterThan(parts.nowMs + 3_600_000)
  const second = list()
  const other = otherRow(9)
  await parts.repository.commit({ instances: [other], events: [] }, NOW_MS)
  await parts.repository.statusIndex(other.iid, NOW_MS)
  const gone = { ...other, revision: 2, state: 'evicted' as const }
  await parts.repository.commit({ instances: [gone], events: [] }, NOW_MS)
  await parts.statuses.refresh()
  expect(list()).not.toBe(second)
})

test.each([
  // The example of the draft, 4.1 and 4.2.
  [16, [0, 3, 4, 5, 7, 8, 9, 13, 15], 'eNrbuRgAAhcBXQ'],
  [0, [], 'eNpjAAAAAQAB'],
])('%i statuses, of which %j are revoked: %s', async (count, revoked, lst) => {
  const repository = { statuses: async () => ({ count, revoked }) }
  const nowMs = () => NOW_MS
  const list = statusList({ url: URL_OF_REGISTRAR, repository, keys: parts.keys, nowMs })
  await list.refresh()
  expect(decodeJwt(list.token()).status_list).toEqual({ bits: 1, lst })
})
