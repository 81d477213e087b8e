import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { explore, inWords, tracesOfAnswers } from './machine.ts'
import { replay } from './replay.ts'
import { STARTUP_GUARDS, type Startup, startup } from './startup.ts'
import { realStartup } from './startup-replay.ts'

const explored = explore(startup())
// A busy machine takes minutes.
const LONG_MS = 600_000

let swtpm: Swtpm
beforeAll(async () => {
  swtpm = await startSwtpm()
})
afterAll(() => swtpm.stop())

test('no start ends ready that must never be', () => {
  expect(explored.broken && inWords(explored.broken.trace)).toBeUndefined()
})

/** What decides what a step answers. */
const kindOf = ({ at, keysOf, tpmBoot, keptIn }: Startup) =>
  JSON.stringify([at, keysOf === tpmBoot, keptIn !== undefined && keptIn === keysOf])

test.each(
  tracesOfAnswers(explored, kindOf).map(
    (trace) => [inWords(trace).replaceAll('\n', ', '), trace] as const,
  ),
)(
  'a start with a TPM does what the model says: %s',
  async (_, trace) => {
    await replay(startup(), trace, () => realStartup(swtpm))
  },
  LONG_MS,
)

/** Each guard, what happens without it, and the shortest way there. */
const WITHOUT: Readonly<
  Record<keyof typeof STARTUP_GUARDS, readonly [never: string, ...trace: string[]]>
> = {
  selfTest: [
    'ready without a self-test of its keys',
    ...['step: made', 'step: named', 'document: changed', 'step: passed', 'step: derived'],
  ],
  names: [
    'ready with a TPM that was reset since',
    ...['step: made', 'step: named', 'step: passed', 'reset-tpm: reset', 'step: derived'],
  ],
  sealed: [
    'an instance that another boot has kept',
    ...['step: made', 'step: named', 'reset-tpm: reset', 'step: TPM_OTHER', 'step: made'],
    ...['source: changed', 'step: kept'],
  ],
}

test.each(Object.entries(WITHOUT))('without %s it would', (guard, [never, ...trace]) => {
  const { broken } = explore(startup({ ...STARTUP_GUARDS, [guard]: false }))
  expect(broken?.never).toBe(never)
  expect(inWords(broken?.trace ?? [])).toBe(trace.join('\n'))
})
