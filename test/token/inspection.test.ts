import { expect, test } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import { ERRORS } from '../../src/error-table.ts'
import { type Binding, type TokenKeys, tokenAuthority } from '../../src/token/authority.ts'
import { auditForeign, inspectOwnToken, inspectToken } from '../../src/token/inspection.ts'

const CALLER = { pid: 4711, uid: 1000, gid: 1000, groups: [1000], namespaces: [] }
const OTHER = { ...CALLER, uid: 1001 }

function bench(binds: readonly Binding[] = ['uid'], iidPrefix = '00112233445566aa') {
  const clock = { ms: 1500 }
  const revoked = new Set<string>()
  const keys: TokenKeys = {
    iidPrefix,
    key: () => Buffer.alloc(32, 'key'),
    isRevoked: (random) => revoked.has(random),
  }
  const bootTimeMs = () => clock.ms
  const tokens = tokenAuthority(keys, bootTimeMs, () => binds)
  const token = tokens.issue(60, CALLER).reveal()
  return { clock, revoked, token, tokens, deps: { iid: 'the iid', tokens, bootTimeMs } }
}

test('a good token is told with what it is bound to, and the seconds that are left, begun ones too', () => {
  const { clock, deps, token } = bench()
  const found = { valid: true, iid: 'the iid', uid: 1000, boundToUid: true, boundToUnit: false }
  expect(inspectToken(deps, token, CALLER)).toEqual({ ...found, secondsLeft: 60 })
  clock.ms += 1
  expect(inspectOwnToken(deps, token, CALLER)).toEqual({ ...found, secondsLeft: 60 })
  clock.ms += 999
  expect(inspectOwnToken(deps, token, CALLER)).toEqual({ ...found, secondsLeft: 59 })
})

test('one that is refused is told with the code and the sentence of the refusal', () => {
  const { clock, deps, token } = bench()
  clock.ms += 60_000
  const { sentence } = ERRORS.TOKEN_EXPIRED
  const found = { valid: false, code: 'TOKEN_EXPIRED', sentence, detail: undefined }
  expect(inspectToken(deps, token, CALLER)).toEqual(found)
  expect(inspectOwnToken(deps, token, CALLER)).toEqual(found)
})

test("of another user's token only the administrator learns whether it is good", () => {
  const { clock, deps, token } = bench()
  clock.ms += 60_000
  expect(inspectToken(deps, token, OTHER)).toMatchObject({ code: 'TOKEN_EXPIRED' })
  expect(inspectOwnToken(deps, token, OTHER)).toMatchObject({ code: 'TOKEN_CALLER' })
})

test('one that is bound to no user is judged for whoever has it', () => {
  const { deps, token } = bench([])
  expect(inspectOwnToken(deps, token, OTHER)).toMatchObject({ valid: true, boundToUid: false })
})

test('what is no refusal is not told as one', () => {
  const { deps, token, tokens } = bench()
  const broken = {
    ...tokens,
    redeem: () => {
      throw new RangeError('a fault of ours')
    },
  }
  expect(() => inspectToken({ ...deps, tokens: broken }, token, CALLER)).toThrow(RangeError)
})

test('that somebody has a token of another instance is an event, and nothing else is', () => {
  const records: AuditRecord[] = []
  const audit = (record: AuditRecord) => void records.push(record)
  const { clock, deps, token } = bench()
  const foreign = bench(['uid'], 'ffffffffffffffff').token
  auditForeign(audit, inspectToken(deps, token, CALLER), 'id-1', CALLER)
  const found = inspectToken(deps, foreign, CALLER)
  auditForeign(audit, found, 'id-2', CALLER)
  clock.ms += 60_000
  auditForeign(audit, inspectToken(deps, token, CALLER), 'id-3', CALLER)
  expect(records).toEqual([
    {
      event: 'token.foreign',
      id: 'id-2',
      caller: CALLER,
      code: 'TOKEN_FOREIGN',
      detail: expect.any(String),
    },
  ])
})
