import { describe, expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { ec2 } from '../../src/dialect/ec2.ts'
import {
  credentialsPath,
  LENIENT,
  parseRoleCredentials,
  STRICT,
} from '../../src/dialect/role-credentials.ts'

const WHOLE = {
  AccessKeyId: 'STS.id',
  AccessKeySecret: 'key-secret',
  Expiration: '2026-01-01T06:00:00Z',
  SecurityToken: 'token-secret',
  LastUpdated: '2026-01-01T00:00:00Z',
  Code: 'Success',
}
const parse = (value: unknown) =>
  parseRoleCredentials(
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
    aliyun,
    LENIENT,
  )

describe('credentials of a role', () => {
  test('are read whole', () => {
    const found = parse(WHOLE)
    expect(found.accessKeyId).toBe('STS.id')
    expect(found.accessKeySecret.reveal()).toBe('key-secret')
    expect(found.securityToken.reveal()).toBe('token-secret')
    expect(found.expiration).toEqual(new Date('2026-01-01T06:00:00Z'))
  })

  test('are read in the words of another cloud', () => {
    const theirs = {
      Code: 'Success',
      AccessKeyId: 'ASIA',
      SecretAccessKey: 'key-secret',
      Token: 'token-secret',
      Expiration: WHOLE.Expiration,
    }
    const found = parseRoleCredentials(Buffer.from(JSON.stringify(theirs)), ec2, LENIENT)
    expect(found).toMatchObject({ accessKeyId: 'ASIA' })
    expect(found.accessKeySecret.reveal()).toBe('key-secret')
    expect(found.securityToken.reveal()).toBe('token-secret')
    expect(() => parse(theirs)).toThrow(/lack AccessKeySecret/)
  })

  test('are refused with the Code that is there instead', () => {
    for (const value of [{ ...WHOLE, Code: 'Failed' }, { Code: 'Failed' }]) {
      expect(() => parse(value)).toThrow(
        expect.objectContaining({
          ...{ code: 'SOURCE_ROLE', roleCode: 'Failed' },
          message: expect.not.stringContaining('key-secret'),
        }),
      )
    }
  })

  test('are judged as strictly as their reader asks', () => {
    const { LastUpdated: _, ...undated } = WHOLE
    const body = Buffer.from(JSON.stringify(undated))
    expect(parseRoleCredentials(body, aliyun, LENIENT)).toMatchObject({ accessKeyId: 'STS.id' })
    expect(() => parseRoleCredentials(body, aliyun, STRICT)).toThrow('credentials: LastUpdated')
    const dated = parseRoleCredentials(Buffer.from(JSON.stringify(WHOLE)), aliyun, STRICT)
    expect(dated.lastUpdated).toEqual(new Date('2026-01-01T00:00:00Z'))
  })

  test('are nothing but their parts: no member of the answer stays beside them in plain', () => {
    const parts = ['accessKeyId', 'accessKeySecret', 'expiration', 'securityToken']
    expect(Object.keys(parse(WHOLE)).toSorted()).toEqual(parts)
  })

  test('do not print their secrets', () => {
    expect(JSON.stringify(parse(WHOLE))).not.toMatch(/key-secret|token-secret/)
  })

  test.each(['AccessKeyId', 'AccessKeySecret', 'Expiration', 'SecurityToken', 'Code'])(
    'are refused without %s',
    (member) => {
      const { [member as keyof typeof WHOLE]: _left, ...rest } = WHOLE
      expect(() => parse(rest)).toThrow(
        expect.objectContaining({
          code: 'SOURCE_NONSENSE',
          message: expect.stringContaining(member),
        }),
      )
    },
  )

  test.each([
    ['an empty member', { ...WHOLE, SecurityToken: '' }],
    ['a time that is none', { ...WHOLE, Expiration: 'soon' }],
    ['no JSON, whose text may be the secret', '{"AccessKeySecret":"key-secret"'],
  ])('are refused with %s', (_what, value) => {
    const refused = expect.objectContaining({
      code: 'SOURCE_NONSENSE',
      message: expect.not.stringContaining('key-secret'),
    })
    expect(() => parse(value)).toThrow(refused)
  })
})

test.each(['', '.', '..', '../user-data', 'a/b', 'a?b', 'a%2fb', 'a b', 'x'.repeat(65)])(
  'no role has the name %j',
  (role) => {
    expect(() => credentialsPath(role, ec2)).toThrow(
      expect.objectContaining({ code: 'METADATA_ABSENT' }),
    )
  },
)

test('a role of IAM may have characters that one of RAM may not', () => {
  const path = '/latest/meta-data/iam/security-credentials/a+b=c,d@e'
  expect(credentialsPath('a+b=c,d@e', ec2)).toBe(path)
})
