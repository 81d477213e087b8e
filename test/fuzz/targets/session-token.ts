import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import type { Caller } from '../../../src/caller/caller.ts'
import { tokenAuthority } from '../../../src/token/authority.ts'
import { decodeToken, EPOCH_MS, encodeClaims, encodeToken } from '../../../src/token/claims.ts'
import { altered, Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const HOUR = 10
const REFUSAL = /^(?:TOKEN_|AGENT_NOT_READY)/
const callerOf = (uid: number, unit?: string): Caller => ({
  ...{ pid: 4711, uid, gid: uid, groups: [uid], namespaces: [] },
  ...(unit === undefined ? {} : { unit }),
})
const HOLDER = callerOf(1000, 'app.service')
const OTHERS = [callerOf(1001, 'app.service'), callerOf(1000, 'other.service'), callerOf(1000)]

const NOW_MS = HOUR * EPOCH_MS + 1000
const IID_PREFIX = '00112233445566aa'
const keys = new Map([HOUR - 1, HOUR, HOUR + 1].map((epoch) => [epoch, Buffer.alloc(32, epoch)]))
const authority = tokenAuthority(
  { iidPrefix: IID_PREFIX, key: (epoch) => keys.get(epoch), isRevoked: () => false },
  () => NOW_MS,
  () => ['uid'],
)

/** The same at every run, and made without the agent's own hand: docs/tokens.md says how. */
function sealed(uid: boolean, unit: boolean): string {
  const covered = encodeClaims({
    ...{ boundTo: { uid, unit }, epoch: HOUR, iidPrefix: IID_PREFIX, uid: HOLDER.uid },
    ...{ expiresAtMs: NOW_MS + 3_600_000, random: 'a1b2c3d4e5f60718' },
  })
  const mac = (name: string) =>
    createHmac('sha256', keys.get(HOUR) ?? '')
      .update(covered)
      .update(name)
      .digest()
  const halves = [mac('').subarray(0, 16), mac(HOLDER.unit ?? '').subarray(0, 16)]
  return encodeToken(covered, unit ? Buffer.concat(halves) : mac(''))
}

interface Issued {
  readonly boundTo: { readonly uid: boolean; readonly unit: boolean }
  readonly text: string
}
const ISSUED: readonly [Issued, ...Issued[]] = [
  { boundTo: { uid: true, unit: false }, text: sealed(true, false) },
  { boundTo: { uid: false, unit: true }, text: sealed(false, true) },
  { boundTo: { uid: true, unit: true }, text: sealed(true, true) },
  { boundTo: { uid: false, unit: false }, text: sealed(false, false) },
]

export const target: FuzzTarget = {
  execution: 'one text redeemed as a session token; of the altered ones none may be accepted',
  bytesMax: 160,
  turns: 5,
  seeds: () => [
    ...ISSUED.map(({ text }) => asItIs(text)),
    ...[0, 1, 2, 3].map((which) => chosen(which, 0, 0, 1, 0, 0, 0, 0, 0)),
    ...[0, 1, 2, 3].map((which) => chosen(which, 1, 0, 5, 0, 0, 0, 9, 3)),
  ],
  run(input) {
    const choices = new Choices(input)
    const isChosen = choices.byte() === CHOSEN
    const text = isChosen
      ? alteredToken(choices.pick(ISSUED).text, choices)
      : input.subarray(1).toString('latin1')
    requireOneSpelling(text)
    const { code } = outcome(() => authority.redeem(text, HOLDER))
    const genuine = ISSUED.find((issued) => issued.text === text)
    if (genuine === undefined) {
      assert.match(code ?? 'accepted', REFUSAL)
      return
    }
    assert.equal(code, undefined)
    const { uid, unit } = genuine.boundTo
    for (const other of OTHERS) {
      const isOther = (uid && other.uid !== HOLDER.uid) || (unit && other.unit !== HOLDER.unit)
      const told = outcome(() => authority.redeem(text, other)).code
      assert.equal(told, isOther ? 'TOKEN_CALLER' : undefined)
    }
  },
}

/** Its characters changed, or its bytes. */
function alteredToken(genuine: string, choices: Choices): string {
  if (choices.isTrue()) return altered(Buffer.from(genuine), choices).toString('latin1')
  return altered(Buffer.from(genuine, 'base64url'), choices).toString('base64url')
}

/** What can be read is written again as it was: no token has two texts, and no claim is lost. */
function requireOneSpelling(text: string): void {
  const opened = outcome(() => decodeToken(text))
  if (opened.value === undefined) {
    assert.match(opened.code, /^TOKEN_(MALFORMED|VERSION)$/)
    return
  }
  const { claims, covered, mac } = opened.value
  assert.equal(encodeToken(covered, mac), text)
  assert.deepEqual(encodeClaims(claims), Buffer.from(covered))
}
