import assert from 'node:assert/strict'
import { DIALECTS } from '../../../src/dialect/dialects.ts'
import { roleErrorIn } from '../../../src/dialect/role-code.ts'
import {
  CREDENTIAL_BYTES_MAX,
  credentialsPath,
  LENIENT,
  parseRoleCredentials,
  STRICT,
} from '../../../src/dialect/role-credentials.ts'
import { credentialTimes, leftMs } from '../../../src/metadata/credential-times.ts'
import { leadsToSlash } from '../../../src/metadata/slash-redirect.ts'
import { canonicalTarget } from '../../../src/policy/canonical-path.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const NOW_MS = Date.parse('2026-11-23T12:00:00Z')
const ORIGINS = ['http://100.100.100.200', 'http://metadata']
const PATH = '/latest/meta-data/network'
const MEMBERS = [
  'Code',
  'AccessKeyId',
  'AccessKeySecret',
  'SecretAccessKey',
  'SecurityToken',
  'Token',
  'Expiration',
  'LastUpdated',
  '__proto__',
  'Message',
] as const
const VALUES = [
  '"Success"',
  '"Failed"',
  '"key"',
  '""',
  'null',
  '1',
  '"2026-11-23T18:00:00Z"',
  '"2026-11-23T11:00:00Z"',
  '"2026-02-30T00:00:00Z"',
  '"2026-11-23T18:00:00.5Z"',
  '[]',
  '{}',
  '"\\ud800"',
] as const
const GOOD = {
  ...{ Code: 'Success', LastUpdated: '2026-11-23T11:00:00Z', Expiration: '2026-11-23T18:00:00Z' },
  ...{
    AccessKeyId: 'id',
    AccessKeySecret: 's',
    SecretAccessKey: 's',
    SecurityToken: 't',
    Token: 't',
  },
}

export const target: FuzzTarget = {
  execution:
    'one answer of the source read as credentials, as the name of a role, or as a redirect',
  bytesMax: 768,
  turns: 2,
  words: [...MEMBERS.map((name) => `"${name}":`), ...VALUES, '//', 'http://', '\\'],
  seeds: () => [
    Buffer.concat([Buffer.of(0), Buffer.from(JSON.stringify(GOOD))]),
    Buffer.of(1, 0, 0, 0, 7, 7, 6, 6, 1, 2, 2, 2, 4, 2),
    Buffer.concat([Buffer.of(2), Buffer.from('role')]),
    Buffer.concat([Buffer.of(3), Buffer.from(`${ORIGINS[0]}${PATH}/`)]),
    Buffer.concat([Buffer.of(3), Buffer.from(`${PATH}/`)]),
  ],
  run(input) {
    const choices = new Choices(input)
    const kind = choices.below(4)
    if (kind === 2) return requireRole(choices.rest().toString('latin1'))
    if (kind === 3) return requireRedirect(choices.rest().toString('latin1'))
    const body = kind === 0 ? choices.rest() : builtAnswer(choices)
    for (const dialect of [DIALECTS.aliyun, DIALECTS.ec2]) requireCredentials(body, dialect)
  },
}

type Dialect = (typeof DIALECTS)[keyof typeof DIALECTS]

/** What is believed strictly is whole, in time, and read the same by the clients that come after. */
function requireCredentials(body: Buffer, dialect: Dialect): void {
  const strict = outcome(() => parseRoleCredentials(body, dialect, STRICT))
  if (strict.value === undefined) {
    assert.match(strict.code, /^SOURCE_(NONSENSE|ROLE)$/)
    return
  }
  assert.ok(body.length <= CREDENTIAL_BYTES_MAX)
  const { accessKeyId, accessKeySecret, securityToken, expiration, lastUpdated } = strict.value
  const again = parseRoleCredentials(body, dialect, LENIENT)
  assert.equal(again.accessKeyId, accessKeyId)
  assert.equal(again.accessKeySecret.reveal(), accessKeySecret.reveal())
  assert.equal(again.securityToken.reveal(), securityToken.reveal())
  assert.equal(again.expiration.getTime(), expiration.getTime())
  for (const text of [accessKeyId, accessKeySecret.reveal(), securityToken.reveal()])
    assert.ok(text.length > 0)
  assert.equal(`${strict.value.accessKeySecret}`, '[secret]')
  const times = outcome(() => credentialTimes({ lastUpdated, expiration }, NOW_MS))
  if (times.value === undefined) {
    assert.equal(times.code, 'SOURCE_NONSENSE')
    return
  }
  assert.ok(
    times.value.expiresAtMs > NOW_MS && times.value.lifeMs > 0 && times.value.lifeMs <= 86_400_000,
  )
  assert.ok(leftMs(times.value, NOW_MS, times.value.lifeMs) <= 0)
}

/** A name that may stand in a path stands there as one segment. */
function requireRole(name: string): void {
  const { value, code } = outcome(() => credentialsPath(name, DIALECTS.aliyun))
  if (value === undefined) {
    assert.equal(code, 'METADATA_ABSENT')
    return
  }
  assert.equal(value, `${DIALECTS.aliyun.rolesPath}${name}`)
  assert.deepEqual(canonicalTarget(value), { path: value, query: undefined })
  assert.match(roleErrorIn(`SOURCE_ROLE: x Its Code is ${name}.`)?.roleCode ?? 'x', /^[\w.-]+$/)
}

/** Followed is one redirect only: to the same path of the same source, with a slash. */
function requireRedirect(location: string): void {
  if (!leadsToSlash({ status: 301, location }, PATH, ORIGINS)) return
  const to = new URL(location, ORIGINS[0])
  assert.ok(ORIGINS.includes(to.origin))
  assert.equal(`${to.pathname}${to.search}${to.hash}`, `${PATH}/`)
  assert.equal(`${to.username}${to.password}`, '')
}

function builtAnswer(choices: Choices): Buffer {
  const good = Object.entries(GOOD).map(([name, value]) => `"${name}":"${value}"`)
  const members = choices.isTrue() ? good : []
  while (!choices.isEmpty && members.length < 24) {
    members.splice(
      choices.below(members.length + 1),
      0,
      `"${choices.pick(MEMBERS)}":${choices.pick(VALUES)}`,
    )
  }
  return Buffer.from(`{${members.join(',')}}`)
}
