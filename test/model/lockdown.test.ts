import { expect, test } from 'vitest'
import { LOCKDOWN_GUARDS, lockdown } from './lockdown.ts'
import { explore, inWords } from './machine.ts'

// Its steps are taken with real commands by test/lockdown/steps.test.ts.

test('lockdown is left half made by no order of commands', () => {
  const { broken } = explore(lockdown())
  expect(broken && inWords(broken.trace)).toBeUndefined()
})

/** Each guard, and the shortest way to what happens without it. */
const WITHOUT: Readonly<Record<keyof typeof LOCKDOWN_GUARDS, readonly string[]>> = {
  routeFirst: ['begin on-redirect: begins', 'step 0: make-rules', 'kill 0: killed'],
  mending: [
    ...['begin on-redirect: begins', 'begin on-refuse: begins', 'step 0: take-route'],
    ...['step 1: make-rules', 'step 0: make-rules', 'step 0: leave-route'],
  ],
}

test.each(Object.entries(WITHOUT))('without %s it would be', (guard, trace) => {
  const { broken } = explore(lockdown({ ...LOCKDOWN_GUARDS, [guard]: false }))
  expect(broken?.never).toBe('rules send containers where no route is')
  expect(inWords(broken?.trace ?? [])).toBe(trace.join('\n'))
})
