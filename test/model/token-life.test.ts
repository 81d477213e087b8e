import { expect, test } from 'vitest'
import { explore, inWords, traces } from './machine.ts'
import { replay } from './replay.ts'
import { TOKEN_GUARDS, tokenLife } from './token-life.ts'
import { rootsInMemory } from './token-parts.ts'
import { realTokenLife } from './token-replay.ts'

const explored = explore(tokenLife())
// A busy machine takes minutes.
const LONG_MS = 600_000

test('of a session token nothing happens that must never happen', () => {
  expect(explored.broken && inWords(explored.broken.trace)).toBeUndefined()
})

test(
  'its keys, its authority and the file of what was revoked do what the model says, at every transition',
  async () => {
    for (const trace of traces(explored)) {
      await replay(tokenLife(), trace, () => realTokenLife(rootsInMemory('a TPM')))
    }
  },
  LONG_MS,
)

/** Each guard, what happens without it, and the shortest way there. */
const WITHOUT: Readonly<
  Record<keyof typeof TOKEN_GUARDS, readonly [never: string, ...trace: string[]]>
> = {
  instance: [
    'a token is accepted on another instance',
    'copy: made elsewhere',
    'redeem holder: accepted',
  ],
  boot: [
    'a token is accepted in another boot',
    'issue uid: issued',
    'reboot lost: ready',
    'redeem holder: accepted',
  ],
  generation: [
    'a token is accepted after its revocation',
    ...[
      'issue uid: issued',
      'revoke-all: asked',
      'derived 0 derived: derived',
      'redeem holder: accepted',
    ],
  ],
  expiry: [
    'a token is accepted after its expiry',
    ...['issue uid: issued', 'pass: later', 'pass: later', 'redeem holder: accepted'],
  ],
  revocation: [
    'a token is accepted after its revocation',
    ...['issue uid: issued', 'revoke: revoked', 'redeem holder: accepted'],
  ],
  user: ['a token is accepted of another user', 'issue uid: issued', 'redeem other-user: accepted'],
  unit: [
    'a token is accepted of another unit',
    'issue unit: issued',
    'redeem other-unit: accepted',
  ],
  shownExpiry: [
    'a token is accepted after its expiry',
    ...[
      'issue uid: issued',
      'pass: later',
      'redeem holder: accepted',
      'pass: later',
      'redeem holder: accepted',
    ],
  ],
  shownRevocation: [
    'a token is accepted after its revocation',
    ...[
      'issue uid: issued',
      'redeem holder: accepted',
      'revoke: revoked',
      'redeem holder: accepted',
    ],
  ],
  shownKey: [
    'a token is accepted after its revocation',
    ...[
      'issue uid: issued',
      'redeem holder: accepted',
      'revoke-all: asked',
      'redeem holder: accepted',
    ],
  ],
  clearing: [
    'a token is accepted after its revocation',
    ...['issue uid: issued', 'revoke-all: asked', 'redeem holder: accepted'],
  ],
  lateKeys: [
    'a token is accepted after its revocation',
    ...['issue uid: issued', 'refresh: asked', 'revoke-all: asked'],
    ...['derived 0 derived: derived', 'redeem holder: accepted'],
  ],
  reading: [
    'a token is accepted after its revocation',
    ...['issue uid: issued', 'revoke: revoked', 'restart: ready', 'redeem holder: accepted'],
  ],
}

test.each(Object.entries(WITHOUT))('without %s it would', (guard, [never, ...trace]) => {
  const { broken } = explore(tokenLife({ ...TOKEN_GUARDS, [guard]: false }))
  expect(broken?.never).toBe(never)
  expect(inWords(broken?.trace ?? [])).toBe(trace.join('\n'))
})
