/**
 * What the credential programs of SDKs print: a `credential_process` of AWS (AWS CLI user guide, "Sourcing
 * credentials with an external process") and a `process_command` of Alibaba Cloud (aliyun-cli, README, "Use an
 * external program to get credentials"; the expiration is that of ecctl's and @alicloud/credentials' reading).
 */
import { z } from 'zod'
import { issueInWords } from '../format/schema-issue.ts'
import { parseJson } from '../json.ts'
import { ecsTime, type StsCredentials } from './sts-credentials.ts'

/** Of credentials that do not say when they end. The aliyun CLI has none in its format. */
const UNDATED_MS = 900_000

const word = z.string().regex(/^[\x21-\x7e]{1,8192}$/, 'must be characters without blanks')
const time = z.iso.datetime({ offset: true, error: 'must be a time as 2026-01-01T00:00:00Z' })

const ofAws = z.object({
  Version: z.literal(1),
  AccessKeyId: word,
  SecretAccessKey: word,
  SessionToken: word,
  Expiration: time.optional(),
})
const ofAlibaba = z.object({
  mode: z.literal('StsToken'),
  access_key_id: word,
  access_key_secret: word,
  sts_token: word,
  expiration: time.optional(),
})

/**
 * @returns the credentials, and when they end
 * @throws Error that says what is wrong, without any of it
 */
export function credentialsIn(
  text: string,
  nowMs: number,
): { readonly credentials: StsCredentials; readonly endMs: number } {
  const { end, ...read } = namesOf(parseJson(text))
  const endMs = end === undefined ? nowMs + UNDATED_MS : Date.parse(end)
  if (endMs <= nowMs) throw new Error('it printed credentials that have expired')
  const credentials = { ...read, Expiration: ecsTime(endMs), LastUpdated: ecsTime(nowMs) }
  return { credentials: { ...credentials, Code: 'Success' }, endMs }
}

function namesOf(value: unknown) {
  if (typeof value === 'object' && value !== null && 'mode' in value) {
    const found = parsed(ofAlibaba, value)
    const { access_key_id, access_key_secret, sts_token, expiration: end } = found
    return names(access_key_id, access_key_secret, sts_token, end)
  }
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = parsed(ofAws, value)
  return names(AccessKeyId, SecretAccessKey, SessionToken, Expiration)
}

function names(id: string, secret: string, token: string, end: string | undefined) {
  return { AccessKeyId: id, AccessKeySecret: secret, SecurityToken: token, end }
}

/** Keys without a token do not expire: nobody's metadata has them, and they are not served. */
function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const member = issue?.path.join('.') ?? ''
  const what = member === '' ? 'no JSON object' : `${member}: ${issue && issueInWords(issue)}`
  throw new Error(`it did not print credentials of a role: ${what}`)
}
