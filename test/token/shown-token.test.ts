import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import { type Binding, type TokenAuthority, tokenAuthority } from '../../src/token/authority.ts'

/**
 * The token that a connection has shown last. Whether its MAC is computed again shows when the bytes of its
 * key are changed under it: one that is remembered is good all the same, any other is forged.
 */

const UNIT = 'app.service'

function caller(uid = 1000): Caller {
  return { pid: 4711, uid, gid: uid, groups: [], namespaces: [], unit: UNIT }
}

function bench(binds: readonly Binding[] = ['uid']) {
  const state = { ms: 36_000_000, key: Buffer.alloc(32, 'a') as Buffer | undefined }
  const revoked = new Set<string>()
  const keys = {
    iidPrefix: '00112233445566aa',
    key: () => state.key,
    isRevoked: (random: string) => revoked.has(random),
  }
  const tokens = tokenAuthority(
    keys,
    () => state.ms,
    () => binds,
  )
  return { state, revoked, tokens }
}

function outcome(tokens: TokenAuthority, text: string, by: Caller): ErrorCode | 'good' {
  try {
    tokens.redeem(text, by)
    return 'good'
  } catch (error) {
    if (error instanceof MetabindError) return error.code
    throw error
  }
}

/** A token that its caller has shown. */
function shown(binds?: readonly Binding[]) {
  const on = bench(binds)
  const by = caller()
  const text = on.tokens.issue(60, by).reveal()
  expect(outcome(on.tokens, text, by)).toBe('good')
  return { ...on, by, text }
}

test.each([[['uid']], [['unit']], [['uid', 'unit']]] as Binding[][][])(
  'bound to %j, it is checked once for a connection, and for each other connection',
  (binds) => {
    const { state, tokens, by, text } = shown(binds)
    state.key?.fill('b')
    expect(outcome(tokens, text, by)).toBe('good')
    // Alike in all that is known of it, and another connection.
    expect(outcome(tokens, text, caller())).toBe('TOKEN_FORGED')
  },
)

test('another user, or another unit, has no use of it', () => {
  const { tokens, text } = shown(['uid', 'unit'])
  expect(outcome(tokens, text, caller(1001))).toBe('TOKEN_CALLER')
  expect(outcome(tokens, text, { ...caller(), unit: 'other.service' })).toBe('TOKEN_CALLER')
})

test('it is refused when it is revoked', () => {
  const { revoked, tokens, by, text } = shown()
  revoked.add(tokens.verify(text).random)
  expect(outcome(tokens, text, by)).toBe('TOKEN_REVOKED')
})

test('it is refused from the millisecond of its expiry on', () => {
  const { state, tokens, by, text } = shown()
  state.ms += 59_999
  expect(outcome(tokens, text, by)).toBe('good')
  state.ms += 1
  expect(outcome(tokens, text, by)).toBe('TOKEN_EXPIRED')
})

test('it is refused when its hour has another key, as in a new generation, or none', () => {
  const { state, tokens, by, text } = shown()
  state.key = undefined
  expect(outcome(tokens, text, by)).toBe('AGENT_NOT_READY')
  state.key = Buffer.alloc(32, 'b')
  expect(outcome(tokens, text, by)).toBe('TOKEN_FORGED')
})

test('a key of the same bytes is another key', () => {
  const { state, tokens, by, text } = shown()
  const first = state.key ?? Buffer.alloc(0)
  state.key = Buffer.from(first)
  expect(outcome(tokens, text, by)).toBe('good')
  first.fill('b')
  expect(outcome(tokens, text, by)).toBe('good')
  state.key = first
  expect(outcome(tokens, text, by)).toBe('TOKEN_FORGED')
})

test('of one connection there is one', () => {
  const { state, tokens, by, text } = shown()
  const other = tokens.issue(60, by).reveal()
  expect(outcome(tokens, other, by)).toBe('good')
  state.key?.fill('b')
  expect(outcome(tokens, other, by)).toBe('good')
  expect(outcome(tokens, text, by)).toBe('TOKEN_FORGED')
})

test('a text that differs anywhere is another one', () => {
  const { tokens, by, text } = shown()
  for (let at = 0; at < text.length; at += 1) {
    const changed = `${text.slice(0, at)}${text[at] === 'A' ? 'Q' : 'A'}${text.slice(at + 1)}`
    expect(outcome(tokens, changed, by), String(at)).not.toBe('good')
    expect(outcome(tokens, text, by)).toBe('good')
  }
})

test('nothing of it is kept when it has expired, is revoked or has lost its key', () => {
  const ends: ((on: ReturnType<typeof shown>) => void)[] = [
    ({ state }) => (state.ms += 60_000),
    ({ revoked, tokens, text }) => revoked.add(tokens.verify(text).random),
    ({ state }) => (state.key = undefined),
  ]
  for (const end of ends) {
    const on = shown()
    const { state, revoked, tokens, by, text } = on
    const { ms, key } = state
    tokens.forgetEnded(by)
    end(on)
    tokens.forgetEnded(by)
    // As if it had never ended: it would be good if it were still there.
    Object.assign(state, { ms, key })
    revoked.clear()
    key?.fill('b')
    expect(outcome(tokens, text, by)).toBe('TOKEN_FORGED')
  }
})

test('it goes with the caller, and so with the connection', async () => {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') throw new Error('no collector')
  const { tokens, text } = shown()
  const connections = new Map([['open', caller()]])
  const claims = () => new WeakRef(tokens.redeem(text, connections.get('open') ?? caller()))
  const remembered = claims()
  // What a turn of the event loop has looked at through it stays until the turn is over.
  const isThere = async () => {
    await setImmediate()
    collect()
    return remembered.deref() !== undefined
  }
  expect(await isThere()).toBe(true)
  connections.clear()
  expect(await isThere()).toBe(false)
})

test('one that is still good is kept', () => {
  const { state, tokens, by, text } = shown()
  tokens.forgetEnded(by)
  tokens.forgetEnded(caller())
  state.key?.fill('b')
  expect(outcome(tokens, text, by)).toBe('good')
})
