import { setImmediate } from 'node:timers/promises'
import type { Caller } from '../../src/caller/caller.ts'
import { MetabindError } from '../../src/errors.ts'
import type { Binding } from '../../src/token/authority.ts'
import { FIRST_GENERATION } from '../../src/token/revocations.ts'
import type { Real } from './replay.ts'
import { type CallerName, INSTANTS_MS, type TokenAction } from './token-life.ts'
import { callerOf, codeOf, type Roots, tokenParts } from './token-parts.ts'

const LIFETIME_SECONDS = 3 * 3600

/** Takes the steps of `token-life.ts` with the token authority, the epoch keys and the file of what was revoked. */
export async function realTokenLife(roots: Roots): Promise<Real<TokenAction>> {
  let binds: readonly Binding[] = ['uid']
  let instant = 0
  let text = ''
  let asked: Promise<string>[] = []
  const parts = await tokenParts(roots, () => binds)
  const connections = (): Record<CallerName, Caller> => ({
    holder: callerOf(1000, 'app.service'),
    'other-user': callerOf(1001, 'app.service'),
    'other-unit': callerOf(1000, 'other.service'),
  })
  let on = connections()
  const callerNamed = (name = '') => on[name as CallerName]
  const random = () => (text === '' ? '' : Buffer.from(text, 'base64url').toString('hex', 24, 32))
  const verified = (then: (random: string, endsAtMs: number) => void) => () => {
    const claims = parts.tokens.verify(text)
    then(claims.random, claims.expiresAtMs)
  }
  const revokeToken = verified((one, endsAtMs) => parts.keys.revokeToken(one, endsAtMs))
  const revokeUnwritten = verified((one, endsAtMs) =>
    parts.withoutDirectory(() => parts.keys.revokeToken(one, endsAtMs)),
  )
  const ask = (doing: () => Promise<void>): string => {
    asked.push(
      doing().then(
        () => 'derived',
        (error: unknown) => (error instanceof MetabindError ? error.code : String(error)),
      ),
    )
    return 'asked'
  }
  const begin = (): string => {
    asked = []
    on = connections()
    return 'ready'
  }
  return {
    take: {
      issue: (boundTo = '') => {
        binds = boundTo.split(' ') as Binding[]
        return codeOf('issued', () => {
          text = parts.tokens.issue(LIFETIME_SECONDS, on.holder).reveal()
        })
      },
      copy: async () => {
        binds = ['uid']
        text = (await parts.elsewhere()).issue(LIFETIME_SECONDS, on.holder).reveal()
        return 'made elsewhere'
      },
      pass: () => {
        instant += 1
        parts.clock.ms = INSTANTS_MS[instant] ?? 0
        return 'later'
      },
      redeem: (by) => codeOf('accepted', () => parts.tokens.redeem(text, callerNamed(by))),
      forget: () => {
        for (const caller of Object.values(on)) parts.tokens.forgetEnded(caller)
        return 'looked'
      },
      revoke: () => codeOf('revoked', revokeToken),
      'revoke-unwritten': () => codeOf('revoked', revokeUnwritten),
      'revoke-all': () => ask(() => parts.keys.revokeAll()),
      refresh: () => ask(() => parts.keys.refresh()),
      derived: async (at, says) => {
        await parts.waiting[Number(at)]?.answer(says === 'TPM_FAULT' ? says : undefined)
        const [answered] = asked.splice(Number(at), 1)
        const said = await answered
        // Another that waited for it has asked by then.
        await setImmediate()
        return said ?? 'nothing was asked'
      },
      restart: async () => {
        await parts.restart()
        return begin()
      },
      reboot: async (files) => {
        instant = 0
        await parts.reboot(files === 'kept' ? 'kept' : 'lost')
        return begin()
      },
    },
    shows: () => {
      const { keys } = parts
      const generation = parts.generation() === FIRST_GENERATION ? 0 : 1
      return `${keys.count} keys, revoked ${keys.isRevoked(random())}, generation ${generation}`
    },
    [Symbol.asyncDispose]: async () => parts.end(),
  }
}
