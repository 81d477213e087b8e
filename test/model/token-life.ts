import type { Model, Taken } from './machine.ts'

/**
 * The life of one session token: made here or on another instance, shown on three connections, revoked by itself or
 * with all others, over hours, restarts and a reboot, while token keys are derived beside it.
 */

const HOUR_MS = 3_600_000
const LIFETIME_MS = 3 * HOUR_MS
/** Of boot time: the last moment of a token that is made at the first one, its expiry, and when its hour's key goes. */
export const INSTANTS_MS: readonly number[] = [0, LIFETIME_MS - 1, LIFETIME_MS, 7 * HOUR_MS]

/** Who asked for the token, on a kept connection, and two who did not. */
const CALLERS = ['holder', 'other-user', 'other-unit'] as const
export type CallerName = (typeof CALLERS)[number]
const BINDINGS = ['uid', 'unit'] as const

/** A key is one for an hour of a boot of a TPM, in a generation. */
interface KeyName {
  readonly instance: 'here' | 'elsewhere'
  readonly boot: number
  readonly generation: number
  readonly hour: number
}

interface Token {
  readonly key: KeyName
  readonly endsAtMs: number
  readonly boundTo: (typeof BINDINGS)[number]
  /** Whether somebody was told that it is revoked. Nothing is decided by it. */
  readonly toldRevoked: boolean
}

/** Keys of a generation that are being derived, or are to be. */
interface Derivation {
  /** The key refresher asks once at a time, and so does who revokes all tokens. */
  readonly askedBy: 'refresh' | 'revoke-all'
  readonly generation: number
  /** The hour at which the TPM was asked; undefined while another of its generation is before it. */
  readonly hour: number | undefined
}

export interface TokenLife {
  readonly at: number
  readonly boot: number
  readonly generation: number
  /** Hours of which there is a key. */
  readonly keys: readonly number[]
  readonly deriving: readonly Derivation[]
  readonly token: Token | undefined
  /** What the file says. */
  readonly isRevoked: boolean
  /** On whose connection it was good, and is remembered. */
  readonly shown: readonly CallerName[]
}

export type TokenAction =
  | 'issue'
  | 'copy'
  | 'pass'
  | 'redeem'
  | 'forget'
  | 'revoke'
  | 'revoke-unwritten'
  | 'revoke-all'
  | 'refresh'
  | 'derived'
  | 'restart'
  | 'reboot'

/** What the product looks at, each by itself, so that a test can leave one out. */
export const TOKEN_GUARDS = {
  /** The iid of a token is compared with this instance's. */
  instance: true,
  /** The MAC tells keys of another boot apart: boot_id and the null seed are in them. */
  boot: true,
  /** And those of another generation. */
  generation: true,
  expiry: true,
  revocation: true,
  user: true,
  unit: true,
  /** A token that was good on a connection is looked at again for all that may have changed. */
  shownExpiry: true,
  shownRevocation: true,
  shownKey: true,
  /** Keys are gone as soon as all tokens are revoked, before others are derived. */
  clearing: true,
  /** Keys that were asked for in another generation are not taken. */
  lateKeys: true,
  /** What was revoked is read again by a restart. */
  reading: true,
}

export function tokenLife(guards = TOKEN_GUARDS): Model<TokenLife, TokenAction> {
  const initial: TokenLife = {
    at: 0,
    boot: 0,
    generation: 0,
    keys: wantedAt(0),
    deriving: [],
    token: undefined,
    isRevoked: false,
    shown: [],
  }
  return {
    initial,
    actions: {
      issue: (state) =>
        state.token !== undefined || state.at > 0 || state.boot > 0
          ? []
          : BINDINGS.map((boundTo) => issue(state, boundTo)),
      copy: (state) =>
        state.token === undefined && state.at === 0 && state.boot === 0 ? [copy(state)] : [],
      pass: (state) =>
        state.at + 1 < INSTANTS_MS.length
          ? [does([], 'later', { ...state, at: state.at + 1 })]
          : [],
      redeem: (state) =>
        ofToken(state, (token) => CALLERS.map((by) => redeem(guards, state, token, by))),
      forget: (state) => ofToken(state, (token) => [forget(guards, state, token)]),
      revoke: (state) => ofToken(state, (token) => [revoke(guards, state, token)]),
      'revoke-unwritten': (state) =>
        ofToken(state, (token) => [revokeUnwritten(guards, state, token)]),
      'revoke-all': (state) =>
        state.generation > 0 || state.boot > 0 ? [] : [revokeAll(guards, state)],
      refresh: (state) =>
        state.deriving.some(({ askedBy }) => askedBy === 'refresh')
          ? []
          : [does([], 'asked', derive(state, 'refresh'))],
      derived: (state) =>
        state.deriving.flatMap(({ hour }, at) =>
          hour === undefined
            ? []
            : ['derived', 'TPM_FAULT'].map((says) => derived(guards, state, at, says)),
        ),
      restart: (state) => [does([], 'ready', begun(guards, state))],
      reboot: (state) =>
        state.boot > 0 ? [] : ['lost', 'kept'].map((files) => reboot(guards, state, files)),
    },
    never: {
      'a token is accepted after its expiry': accepted(
        ({ at }, { endsAtMs }) => (INSTANTS_MS[at] ?? 0) >= endsAtMs,
      ),
      'a token is accepted after its revocation': accepted((_, { toldRevoked }) => toldRevoked),
      'a token is accepted on another instance': accepted(
        (_, { key }) => key.instance === 'elsewhere',
      ),
      'a token is accepted in another boot': accepted(({ boot }, { key }) => key.boot !== boot),
      'a token is accepted of another user': accepted(
        (_, { boundTo }, by) => boundTo === 'uid' && by === 'other-user',
      ),
      'a token is accepted of another unit': accepted(
        (_, { boundTo }, by) => boundTo === 'unit' && by === 'other-unit',
      ),
    },
    shows: ({ keys, isRevoked, generation }) =>
      `${keys.length} keys, revoked ${isRevoked}, generation ${generation}`,
  }
}

type Guards = typeof TOKEN_GUARDS

function does(args: readonly string[], says: string, next: TokenLife): Taken<TokenLife> {
  return { args, says, next }
}

function ofToken(state: TokenLife, ways: (token: Token) => Taken<TokenLife>[]): Taken<TokenLife>[] {
  return state.token === undefined ? [] : ways(state.token)
}

function accepted(isWrong: (state: TokenLife, token: Token, by: string) => boolean) {
  return (
    before: TokenLife,
    { action, args, says }: { action: string; args: readonly string[]; says: string },
  ) =>
    action === 'redeem' &&
    says === 'accepted' &&
    before.token !== undefined &&
    isWrong(before, before.token, args[0] ?? '')
}

function nowMs({ at }: TokenLife): number {
  return INSTANTS_MS[at] ?? 0
}

function hourOf(state: TokenLife): number {
  return Math.floor(nowMs(state) / HOUR_MS)
}

/** The hours whose tokens may be alive, this one and the next. */
function wantedAt(hour: number): number[] {
  const first = Math.max(0, hour - 6)
  return Array.from({ length: hour + 2 - first }, (_, at) => first + at)
}

function issue(state: TokenLife, boundTo: Token['boundTo']): Taken<TokenLife> {
  const hour = hourOf(state)
  if (!state.keys.includes(hour)) return does([boundTo], 'AGENT_NOT_READY', state)
  const key: KeyName = { instance: 'here', boot: state.boot, generation: state.generation, hour }
  const token = { key, endsAtMs: nowMs(state) + LIFETIME_MS, boundTo, toldRevoked: false }
  return does([boundTo], 'issued', { ...state, token })
}

/** With the files of this instance, and in a boot of the same id: only the TPM differs. */
function copy(state: TokenLife): Taken<TokenLife> {
  const key: KeyName = { instance: 'elsewhere', boot: 0, generation: state.generation, hour: 0 }
  const token: Token = { key, endsAtMs: LIFETIME_MS, boundTo: 'uid', toldRevoked: false }
  return does([], 'made elsewhere', { ...state, token })
}

/** Why a token is refused, whoever shows it; undefined if it is not. */
function whyNot(guards: Guards, state: TokenLife, token: Token): string | undefined {
  const { key, endsAtMs } = token
  if (guards.instance && key.instance !== 'here') return 'TOKEN_FOREIGN'
  if (!state.keys.includes(key.hour)) {
    if (key.hour * HOUR_MS > nowMs(state)) return 'TOKEN_EPOCH'
    return (key.hour + 7) * HOUR_MS <= nowMs(state) ? 'TOKEN_EXPIRED' : 'AGENT_NOT_READY'
  }
  if (guards.boot && key.boot !== state.boot) return 'TOKEN_FORGED'
  if (guards.generation && key.generation !== state.generation) return 'TOKEN_FORGED'
  if (guards.expiry && nowMs(state) >= endsAtMs) return 'TOKEN_EXPIRED'
  return guards.revocation && state.isRevoked ? 'TOKEN_REVOKED' : undefined
}

function isHolder({ user, unit }: Guards, { boundTo }: Token, by: CallerName): boolean {
  if (user && boundTo === 'uid' && by === 'other-user') return false
  return !(unit && boundTo === 'unit' && by === 'other-unit')
}

/** Of a token that was good on a connection, what may have changed since. */
function isStillGood(guards: Guards, state: TokenLife, { key, endsAtMs }: Token): boolean {
  if (guards.shownKey && !(state.keys.includes(key.hour) && key.generation === state.generation))
    return false
  if (guards.shownExpiry && nowMs(state) >= endsAtMs) return false
  return !(guards.shownRevocation && state.isRevoked)
}

function redeem(guards: Guards, state: TokenLife, token: Token, by: CallerName): Taken<TokenLife> {
  if (state.shown.includes(by) && isStillGood(guards, state, token))
    return does([by], 'accepted', state)
  const why =
    whyNot(guards, state, token) ?? (isHolder(guards, token, by) ? undefined : 'TOKEN_CALLER')
  const others = state.shown.filter((one) => one !== by)
  const shown = CALLERS.filter((one) => others.includes(one) || (one === by && why === undefined))
  return does([by], why ?? 'accepted', { ...state, shown })
}

/** As once a second, on all connections. */
function forget(guards: Guards, state: TokenLife, token: Token): Taken<TokenLife> {
  const shown = isStillGood(guards, state, token) ? state.shown : []
  return does([], 'looked', { ...state, shown })
}

function revoke(guards: Guards, state: TokenLife, token: Token): Taken<TokenLife> {
  const why = whyNot(guards, state, token)
  if (why !== undefined) return does([], why, state)
  return does([], 'revoked', { ...state, isRevoked: true, token: { ...token, toldRevoked: true } })
}

/** The file cannot be written. */
function revokeUnwritten(guards: Guards, state: TokenLife, token: Token): Taken<TokenLife> {
  return does([], whyNot(guards, state, token) ?? 'DIRECTORY_FAULT', state)
}

function revokeAll(guards: Guards, state: TokenLife): Taken<TokenLife> {
  const { token } = state
  const next = {
    ...state,
    generation: state.generation + 1,
    isRevoked: false,
    token:
      token === undefined || token.key.instance === 'elsewhere'
        ? token
        : { ...token, toldRevoked: true },
    keys: [],
  }
  const asking = derive(next, 'revoke-all')
  // The old keys, under their old names, until there are others.
  return does(
    [],
    'asked',
    guards.clearing ? asking : { ...asking, keys: state.keys, generation: state.generation },
  )
}

/** What is missing is asked for, and taken when the TPM has answered. */
function derive(state: TokenLife, askedBy: Derivation['askedBy']): TokenLife {
  const isNext = state.deriving.some(({ generation }) => generation === state.generation)
  const hour = isNext ? undefined : hourOf(state)
  return {
    ...state,
    deriving: [...state.deriving, { askedBy, generation: state.generation, hour }],
  }
}

function derived(guards: Guards, state: TokenLife, at: number, says: string): Taken<TokenLife> {
  const args = [String(at), says]
  const derivation = state.deriving[at]
  const others = state.deriving.filter((_, other) => other !== at)
  const deriving = others.map((one) => ({ ...one, hour: one.hour ?? hourOf(state) }))
  const ended = { ...state, deriving }
  if (derivation?.hour === undefined || says !== 'derived') return does(args, says, ended)
  const { generation, hour } = derivation
  if (generation === state.generation) return does(args, says, { ...ended, keys: wantedAt(hour) })
  // As if its keys were this generation's, which then has those of the one before.
  const taken = guards.lateKeys ? ended : { ...ended, keys: wantedAt(hour), generation }
  return does(args, says, taken)
}

/** Another process, with the files and the TPM of the one before. */
function begun(guards: Guards, state: TokenLife): TokenLife {
  const isRevoked = guards.reading && state.isRevoked
  return { ...state, keys: wantedAt(hourOf(state)), deriving: [], shown: [], isRevoked }
}

/** The TPM is reset and the boot has another id; the runtime directory is lost, as it should be, or is not. */
function reboot(guards: Guards, state: TokenLife, files: string): Taken<TokenLife> {
  const booted = { ...state, at: 0, boot: state.boot + 1 }
  const left = files === 'kept' ? booted : { ...booted, generation: 0, isRevoked: false }
  return does([files], 'ready', begun(guards, left))
}
