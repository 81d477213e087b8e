import { expect, test } from 'vitest'
import { MINUTES, tokenRates } from '../../src/audit/token-rates.ts'

const MINUTE_MS = 60_000

test('tokens are counted by the minute, the present one last', () => {
  let nowMs = 1_000_000
  const rates = tokenRates(() => nowMs)
  rates.note({ event: 'token.issued' })
  rates.note({ event: 'token.foreign' })
  nowMs += 2 * MINUTE_MS
  rates.note({ event: 'token.issued' })
  rates.note({ event: 'token.refused' })
  rates.note({ event: 'policy.refused' })
  expect(rates.perMinute()).toHaveLength(MINUTES)
  expect(rates.perMinute().slice(-3)).toEqual([
    { issued: 1, refused: 1 },
    { issued: 0, refused: 0 },
    { issued: 1, refused: 1 },
  ])
})

test('minutes in which nobody asked, or looked, are empty', () => {
  let nowMs = 0
  const rates = tokenRates(() => nowMs)
  rates.note({ event: 'token.issued' })
  nowMs += (MINUTES - 1) * MINUTE_MS
  expect(rates.perMinute()[0]).toEqual({ issued: 1, refused: 0 })
  nowMs += 100 * MINUTES * MINUTE_MS
  expect(rates.perMinute().some(({ issued }) => issued > 0)).toBe(false)
})

test('of one minute all are counted, and when it comes round again it begins anew', () => {
  let nowMs = 0
  const rates = tokenRates(() => nowMs)
  const twice = ['token.issued', 'token.refused', 'token.foreign'] as const
  for (const event of [...twice, ...twice]) rates.note({ event })
  expect(rates.perMinute().at(-1)).toEqual({ issued: 2, refused: 4 })
  nowMs += MINUTES * MINUTE_MS
  rates.note({ event: 'policy.refused' })
  expect(rates.perMinute()).toEqual(Array(MINUTES).fill({ issued: 0, refused: 0 }))
  rates.note({ event: 'token.refused' })
  expect(rates.perMinute().at(-1)).toEqual({ issued: 0, refused: 1 })
})
