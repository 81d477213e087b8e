import fc from 'fast-check'
import type { Caller } from '../../src/caller/caller.ts'
import type { Binding } from '../../src/token/authority.ts'
import { callerOf, codeOf, type TokenParts } from './token-parts.ts'

/** Many session tokens, at any moments, over revocations, restarts and reboots: what is known of them, and what is done. */

const HOUR_MS = 3_600_000
const LIFETIME_SECONDS_MAX = 6 * 3600

/** Users and units, each on a kept connection of its own. */
const CALLERS = [
  [1000, 'app.service'],
  [1000, 'other.service'],
  [1001, 'app.service'],
] as const

interface KnownToken {
  readonly endsAtMs: number
  readonly binds: readonly Binding[]
  readonly by: number
  readonly generation: number
  readonly isRevoked: boolean
}

/** What somebody outside can know. */
export interface Known {
  nowMs: number
  /** Counts revocations of all tokens, and reboots: tokens of before are over. */
  generation: number
  /** Hours of which the agent can have a key. */
  hours: readonly number[]
  readonly tokens: KnownToken[]
}

/** The product's parts, with the texts of what they made. */
export interface Held {
  readonly parts: TokenParts
  readonly texts: string[]
  connections: Caller[]
  binds: readonly Binding[]
  /** A token is shown: its refusal's code, or that it is accepted. */
  redeem(text: string, caller: Caller): string
}

export const known = (): Known => ({ nowMs: 0, generation: 0, hours: hoursAt(0), tokens: [] })

export const connectionsAnew = (): Caller[] => CALLERS.map(([uid, unit]) => callerOf(uid, unit))

const hourAt = (ms: number) => Math.floor(ms / HOUR_MS)

function hoursAt(ms: number): number[] {
  const first = Math.max(0, hourAt(ms) - LIFETIME_SECONDS_MAX / 3600)
  return Array.from({ length: hourAt(ms) + 2 - first }, (_, at) => first + at)
}

/** Why a token has to be refused to a caller; undefined if it has to be accepted. */
function whyNot({ nowMs, generation }: Known, token: KnownToken, by: number): string | undefined {
  const [uid, unit] = CALLERS[by] ?? []
  const [ownUid, ownUnit] = CALLERS[token.by] ?? []
  if (token.generation !== generation) return 'another generation'
  if (nowMs >= token.endsAtMs) return 'over'
  if (token.isRevoked) return 'revoked'
  if (token.binds.includes('uid') && uid !== ownUid) return 'another user'
  if (token.binds.includes('unit') && unit !== ownUnit) return 'another unit'
  return undefined
}

type Command = fc.AsyncCommand<Known, Held>
const command = (
  name: string,
  run: Command['run'],
  check: (model: Readonly<Known>) => boolean = () => true,
): Command => ({ check, run, toString: () => name })

function expect(what: string, said: string, wanted: string): void {
  if (said !== wanted) throw new Error(`${what}: '${said}', not '${wanted}'`)
}

function issue(by: number, seconds: number, binds: readonly Binding[]): Command {
  return command(`issue(${by}, ${seconds} s, ${binds})`, async (model, held) => {
    held.binds = binds
    const caller = held.connections[by]
    if (caller === undefined) throw new Error('no such caller')
    const said = codeOf('issued', () => {
      held.texts.push(held.parts.tokens.issue(seconds, caller).reveal())
    })
    const isReady = model.hours.includes(hourAt(model.nowMs))
    expect('issue', said, isReady ? 'issued' : 'AGENT_NOT_READY')
    if (!isReady) return
    const endsAtMs = model.nowMs + seconds * 1000
    const { generation } = model
    model.tokens.push({ endsAtMs, binds, by, generation, isRevoked: false })
  })
}

function redeem(at: number, by: number): Command {
  return command(
    `redeem(${at}, ${by})`,
    async (model, held) => {
      const [token, caller] = [model.tokens[at], held.connections[by]]
      if (token === undefined || caller === undefined) throw new Error('no such token or caller')
      const said = held.redeem(held.texts[at] ?? '', caller)
      const why = whyNot(model, token, by)
      expect(why ?? 'good', said === 'accepted' ? said : 'refused', why ? 'refused' : 'accepted')
    },
    ({ tokens }) => at < tokens.length,
  )
}

/** With another character at one place: no token of ours has that text. */
function redeemAltered(at: number, place: number): Command {
  return command(
    `redeemAltered(${at}, ${place})`,
    async (_, held) => {
      const text = held.texts[at] ?? ''
      const index = place % text.length
      const other = text[index] === 'A' ? 'B' : 'A'
      const altered = text.slice(0, index) + other + text.slice(index + 1)
      for (const caller of held.connections) {
        if (held.redeem(altered, caller) === 'accepted')
          throw new Error('an altered token is accepted')
      }
    },
    ({ tokens }) => at < tokens.length,
  )
}

function revoke(at: number): Command {
  return command(
    `revoke(${at})`,
    async (model, { parts, texts }) => {
      const token = model.tokens[at]
      if (token === undefined) throw new Error('no such token')
      const said = codeOf('revoked', () => {
        const { random, expiresAtMs } = parts.tokens.verify(texts[at] ?? '')
        parts.keys.revokeToken(random, expiresAtMs)
      })
      const isGood = whyNot(model, token, token.by) === undefined
      expect('revoke', said === 'revoked' ? said : 'refused', isGood ? 'revoked' : 'refused')
      if (isGood) model.tokens[at] = { ...token, isRevoked: true }
    },
    ({ tokens }) => at < tokens.length,
  )
}

/** Answers what the TPM is asked until it is done. */
async function answered(parts: TokenParts, doing: Promise<void>, fails: boolean): Promise<boolean> {
  let isDone: boolean | undefined
  const end = doing.then(
    () => (isDone = true),
    () => (isDone = false),
  )
  while (isDone === undefined) {
    await parts.waiting[0]?.answer(fails ? 'TPM_FAULT' : undefined)
    await new Promise(setImmediate)
  }
  await end
  return isDone
}

function refresh(fails: boolean): Command {
  return command(`refresh(${fails ? 'fails' : ''})`, async (model, { parts }) => {
    const isDone = await answered(parts, parts.keys.refresh(), fails)
    expect('refresh', String(isDone), String(!fails))
    if (isDone) model.hours = hoursAt(model.nowMs)
  })
}

function revokeAll(fails: boolean): Command {
  return command(`revokeAll(${fails ? 'fails' : ''})`, async (model, { parts }) => {
    const isDone = await answered(parts, parts.keys.revokeAll(), fails)
    model.generation += 1
    model.hours = isDone ? hoursAt(model.nowMs) : []
  })
}

const restart = command('restart', async (model, held) => {
  await held.parts.restart()
  held.connections = connectionsAnew()
  model.hours = hoursAt(model.nowMs)
})

function reboot(files: 'lost' | 'kept'): Command {
  return command(`reboot(${files})`, async (model, held) => {
    await held.parts.reboot(files)
    held.connections = connectionsAnew()
    Object.assign(model, { nowMs: 0, hours: hoursAt(0), generation: model.generation + 1 })
  })
}

function pass(ms: number): Command {
  return command(`pass(${ms} ms)`, async (model, { parts }) => {
    model.nowMs += ms
    parts.clock.ms = model.nowMs
  })
}

function forget(by: number): Command {
  return command(`forget(${by})`, async (_, { parts, connections }) => {
    const caller = connections[by]
    if (caller !== undefined) parts.tokens.forgetEnded(caller)
  })
}

const by = fc.nat(CALLERS.length - 1)
const at = fc.nat(5)
// Moments beside the ends of hours and lives are where something changes.
const span = fc.oneof(
  fc.constantFrom(1, 999, 1000, HOUR_MS - 1, HOUR_MS, 6 * HOUR_MS, 7 * HOUR_MS),
  fc.nat(HOUR_MS),
)
const seconds = fc.oneof(
  fc.constantFrom(1, 3600, LIFETIME_SECONDS_MAX),
  fc.integer({ min: 1, max: LIFETIME_SECONDS_MAX }),
)
const binds = fc.constantFrom<readonly Binding[]>(['uid'], ['unit'], ['uid', 'unit'], [])
const oftenNot = fc.constantFrom(false, false, false, true)

export const commands = fc.commands(
  [
    fc.tuple(by, seconds, binds).map((args) => issue(...args)),
    fc.tuple(by, seconds, binds).map((args) => issue(...args)),
    fc.tuple(at, by).map((args) => redeem(...args)),
    fc.tuple(at, by).map((args) => redeem(...args)),
    fc.tuple(at, by).map((args) => redeem(...args)),
    fc.tuple(at, fc.nat()).map((args) => redeemAltered(...args)),
    at.map(revoke),
    span.map(pass),
    span.map(pass),
    oftenNot.map(refresh),
    oftenNot.map(revokeAll),
    fc.constant(restart),
    fc.constantFrom('lost' as const, 'kept' as const).map(reboot),
    by.map(forget),
  ],
  { maxCommands: 60, size: 'max' },
)
