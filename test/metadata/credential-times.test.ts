import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import {
  CREDENTIAL_BYTES_MAX,
  parseRoleCredentials,
  STRICT,
} from '../../src/dialect/role-credentials.ts'
import { MetabindError } from '../../src/errors.ts'
import type { DialectName } from '../../src/format/dialect-name.ts'
import {
  CREDENTIAL_LIFE_MS_MAX,
  credentialTimes,
  leftMs,
} from '../../src/metadata/credential-times.ts'
import { toEcsJson } from '../../src/simulate/sts-credentials.ts'

const NOW = Date.parse('2026-11-01T00:00:00Z')
const HOUR = 3_600_000
const GOOD = {
  AccessKeyId: 'STS.planted-id',
  AccessKeySecret: 'planted-secret',
  Expiration: '2026-11-01T06:00:00Z',
  SecurityToken: 'planted-token',
  LastUpdated: '2026-11-01T00:00:00Z',
  Code: 'Success',
}

const timesOf = (body: Buffer, dialect: DialectName, nowMs: number) =>
  credentialTimes(parseRoleCredentials(body, DIALECTS[dialect], STRICT), nowMs)
const parse = (value: unknown) =>
  timesOf(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), 'aliyun', NOW)

function refusal(value: unknown): MetabindError {
  try {
    parse(value)
  } catch (error) {
    if (error instanceof MetabindError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('refused', () => {
  for (const name of Object.keys(GOOD)) {
    test(`without ${name}`, () => {
      const { [name as keyof typeof GOOD]: _, ...rest } = GOOD
      expect(refusal(rest)).toMatchObject({
        code: 'SOURCE_NONSENSE',
        detail: `credentials: ${name}`,
      })
    })
    test(`with ${name} empty`, () => {
      expect(refusal({ ...GOOD, [name]: '' }).detail).toBe(`credentials: ${name}`)
    })
    test(`with ${name} no text`, () => {
      expect(refusal({ ...GOOD, [name]: null }).detail).toBe(`credentials: ${name}`)
    })
  }

  const times = [
    ['a fraction of a second', '2026-11-01T06:00:00.000Z'],
    ['another zone', '2026-11-01T06:00:00+00:00'],
    ['no such day', '2026-02-30T06:00:00Z'],
    ['no such hour', '2026-11-01T25:00:00Z'],
    ['a blank', ' 2026-11-01T06:00:00Z'],
  ] as const
  for (const [what, time] of times) {
    test(`Expiration with ${what}`, () => {
      expect(refusal({ ...GOOD, Expiration: time }).detail).toBe('credentials: Expiration')
    })
    test(`LastUpdated with ${what}`, () => {
      expect(refusal({ ...GOOD, LastUpdated: time }).detail).toBe('credentials: LastUpdated')
    })
  }

  test('expired now', () => {
    const expired = {
      ...GOOD,
      LastUpdated: '2026-10-31T18:00:00Z',
      Expiration: '2026-11-01T00:00:00Z',
    }
    expect(refusal(expired).detail).toBe('credentials: expired, by the clock of this host')
  })

  test('an end before the beginning, or at it', () => {
    for (const LastUpdated of ['2026-11-01T07:00:00Z', GOOD.Expiration]) {
      expect(refusal({ ...GOOD, LastUpdated }).detail).toBe('credentials: times')
    }
  })

  test('Code other than Success, by its Code, whatever else is there', () => {
    for (const other of [{ ...GOOD, Code: 'Failed' }, { Code: 'Failed' }]) {
      expect(refusal(other)).toMatchObject({ code: 'SOURCE_ROLE', detail: 'Its Code is Failed.' })
    }
  })

  test('what is longer or deeper than any credentials, before it is parsed', () => {
    const long = { ...GOOD, More: 'x'.repeat(CREDENTIAL_BYTES_MAX) }
    const deep = JSON.stringify(GOOD).replace('{', `{"More":${'['.repeat(8)}${']'.repeat(8)},`)
    expect(refusal(long).detail).toBe('credentials: not an object')
    expect(refusal(deep).detail).toBe('credentials: not an object')
  })

  test('what is no JSON object, without repeating any of it', () => {
    for (const text of [
      '',
      'null',
      '[]',
      '"x"',
      `${JSON.stringify(GOOD).slice(0, -9)}`,
      '\xff\x00',
    ]) {
      const error = refusal(text)
      expect(error.code).toBe('SOURCE_NONSENSE')
      expect(error.cause).toBeUndefined()
      expect(error.message).not.toContain('planted')
    }
  })
})

describe('accepted', () => {
  test('the six members, in any spacing, with more beside', () => {
    const times = { expiresAtMs: NOW + 6 * HOUR, lifeMs: 6 * HOUR }
    expect(parse(GOOD)).toEqual(times)
    expect(parse(toEcsJson(GOOD))).toEqual(times)
    expect(parse({ ...GOOD, More: 1 })).toEqual(times)
    expect(parse({ ...GOOD, More: [[[[[[[1]]]]]]] })).toEqual(times)
  })

  test('an Expiration years ahead is used for a day at most', () => {
    const far = parse({ ...GOOD, Expiration: '2099-11-01T06:00:00Z' })
    expect(far.lifeMs).toBe(CREDENTIAL_LIFE_MS_MAX)
  })
})

test('no clock setting makes credentials live longer than their life or past their Expiration', () => {
  const life = { min: 1, max: 24 * HOUR }
  fc.assert(
    fc.property(
      fc.integer(life),
      fc.integer({ min: -1e12, max: 1e12 }),
      fc.nat(48 * HOUR),
      (lifeMs, wallOffset, seenForMs) => {
        const left = leftMs({ expiresAtMs: NOW + lifeMs, lifeMs }, NOW + wallOffset, seenForMs)
        if (seenForMs >= lifeMs || wallOffset >= lifeMs) expect(left).toBeLessThanOrEqual(0)
        else expect(left).toBeGreaterThan(0)
      },
    ),
  )
})

test('the members are those of the dialect', () => {
  const times = { Expiration: '2026-11-23T18:00:00Z', LastUpdated: '2026-11-23T12:00:00Z' }
  const ec2 = { Code: 'Success', AccessKeyId: 'A', SecretAccessKey: 's', Token: 't', ...times }
  const body = Buffer.from(JSON.stringify(ec2))
  const nowMs = Date.parse('2026-11-23T13:00:00Z')
  expect(timesOf(body, 'ec2', nowMs).lifeMs).toBe(6 * 3_600_000)
  expect(() => timesOf(body, 'aliyun', nowMs)).toThrow('AccessKeySecret')
})
