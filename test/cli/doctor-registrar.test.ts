import { expect, test } from 'vitest'
import { registrarFindings } from '../../src/cli/doctor-agent.ts'

const NEXT = '2026-11-29T12:00:00.000Z'
const standing = { url: 'https://registrar.example', state: 'enrolled', next: NEXT }
const problem = { code: 'FEDERATION_DOWN', sentence: 'It gives no answer.', remedy: 'Try again.' }

test('metabind doctor says nothing of a registrar that there is none of, or that answers', () => {
  expect(registrarFindings(undefined)).toEqual([])
  expect(registrarFindings(standing)).toEqual([])
})

test('metabind doctor says that the registrar is away, also while the enrolment lasts', () => {
  const [found] = registrarFindings({ ...standing, problem })
  expect(found).toMatchObject({ id: 'registrar-away', weight: 'broken', remedy: 'Try again.' })
  expect(found?.says).toContain('https://registrar.example')
})

test.each([
  ['held', undefined, 'metabind-registrar approve'],
  ['waiting', undefined, NEXT],
  ['refused', problem, 'Try again.'],
])(
  'metabind doctor says what a registrar wants of an instance that is %s',
  (state, why, remedy) => {
    const found = registrarFindings({ ...standing, state, problem: why })
    expect(found).toMatchObject([{ id: 'registrar-not-enrolled', weight: 'broken' }])
    expect(found[0]?.remedy).toContain(remedy)
  },
)
