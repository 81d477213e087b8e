import { describe, expect, test } from 'vitest'
import { shownVerdict } from '../../src/cli/shown-verdict.ts'
import type { DirectReader } from '../../src/lockdown/direct-readers.ts'
import type { Lockdown } from '../../src/lockdown/rules.ts'
import {
  type AskPolicy,
  type Permission,
  type Verdict,
  verdictOf,
  verdictOfObserved,
} from '../../src/lockdown/verdict.ts'

const PLAN: Lockdown = {
  mode: 'enforce',
  address: '100.100.100.200',
  port: 80,
  listenerPort: 8080,
  observePort: 8081,
  agentUid: 990,
  containers: 'refuse',
  forSeconds: undefined,
}
const READER: DirectReader = {
  uid: 1000,
  pid: 1,
  unit: 'app.service',
  container: undefined,
  executable: '/usr/bin/app',
  network: 'host',
  isPlaced: true,
}
const CREDENTIALS = '/latest/meta-data/ram/security-credentials/app-role'
const REFUSED: Permission = { is: 'refused', why: 'rule 3' }

/** The policy's word: credentials are refused, all else is allowed. */
const ask: AskPolicy = async (_who, path) => (path === CREDENTIALS ? REFUSED : { is: 'allowed' })
const silent: AskPolicy = async () => ({ is: 'agent-silent' })

describe('a process that talks to the service now', () => {
  test.each<[string, Partial<DirectReader>, Lockdown['containers'], Partial<Verdict>]>([
    ['of the agent’s user', { uid: 990 }, 'refuse', { outcome: 'passes', reason: 'agent-user' }],
    ['that has ended', { pid: undefined }, 'refuse', { outcome: 'unknown', reason: 'ended' }],
    [
      'in a cgroup that the agent cannot see',
      { isPlaced: false },
      'refuse',
      { outcome: 'refused', reason: 'hidden-cgroup' },
    ],
    [
      'in a network of its own',
      { network: 'own' },
      'refuse',
      { outcome: 'refused', reason: 'own-network' },
    ],
    [
      'in a network of its own that is left alone',
      { network: 'own' },
      'leave',
      { outcome: 'left-alone', reason: 'left-network' },
    ],
    [
      'in a redirected network, but in no known container',
      { network: 'own' },
      'redirect',
      { outcome: 'refused', reason: 'unknown-container' },
    ],
    [
      'in a redirected container',
      { network: 'own', container: 'c'.repeat(64) },
      'redirect',
      { outcome: 'answered', reason: 'policy' },
    ],
  ])('%s', async (_name, reader, containers, verdict) => {
    const plan = { ...PLAN, containers }
    expect(await verdictOf({ ...READER, ...reader }, plan, CREDENTIALS, ask)).toMatchObject(verdict)
  })

  test('gets the policy’s word about metadata and credentials', async () => {
    const verdict = await verdictOf(READER, PLAN, CREDENTIALS, ask)
    expect(verdict).toEqual({
      outcome: 'answered',
      reason: 'policy',
      metadata: { is: 'allowed' },
      credentials: REFUSED,
    })
    expect(shownVerdict(verdict)).toEqual({
      outcome: 'answered',
      permissions: { metadata: 'allowed', credentials: 'refused: rule 3' },
      says: 'metadata allowed; credentials refused: rule 3',
    })
  })

  test('of no role, or without an agent', async () => {
    const roleless = shownVerdict(await verdictOf(READER, PLAN, undefined, ask))
    expect(roleless.says).toBe('metadata allowed; credentials unknown: no role can be read')
    expect(shownVerdict(await verdictOf(READER, PLAN, CREDENTIALS, silent))).toEqual({
      outcome: 'unknown',
      permissions: {},
      says: 'unknown: the agent does not answer',
    })
  })
})

describe('one that was observed', () => {
  const seen = { ...READER, readsWithToken: 1, readsWithoutToken: 1, lastPath: CREDENTIALS }

  test.each([
    [1, 0, 'answered', 'sends tokens; last path refused: rule 3'],
    [1, 1, 'answered', 'refused where it sends no token; last path refused: rule 3'],
    [0, 1, 'refused', 'refused: sends no token; last path refused: rule 3'],
  ])('with %i reads with a token and %i without', async (having, lacking, outcome, says) => {
    const row = { ...seen, readsWithToken: having, readsWithoutToken: lacking }
    expect(shownVerdict(await verdictOfObserved(row, PLAN, ask))).toMatchObject({ outcome, says })
  })

  test('whom nobody can name, or of whom no agent says anything', async () => {
    const nameless = await verdictOfObserved({ ...seen, uid: undefined }, PLAN, ask)
    expect(nameless).toEqual({ outcome: 'refused', reason: 'nobody-named' })
    const unasked = await verdictOfObserved(seen, PLAN, silent)
    expect(unasked).toMatchObject({ outcome: 'unknown', lastPath: { is: 'agent-silent' } })
  })
})
