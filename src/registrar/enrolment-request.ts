import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { type Answer, decodeAnswer } from '../format/activation.ts'
import { describe } from '../format/evidence.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import { GENERATION_MAX } from '../registrar-repository/enrolled-instance.ts'

/** What strangers send to enrol: bytes of any origin, already bounded. */

const challengeRequest = z.strictObject({
  evidence: z.looseObject({ nonce: z.string().regex(/^[0-9a-f]{128}$/) }),
  generation: z.int().min(0).max(GENERATION_MAX).default(0),
})
const enrolRequest = z.strictObject({ answer: z.unknown() })

/** @returns evidence as JSON, of which the nonce alone was looked at @throws MetabindError VERIFY_FORMAT, ENROL_REQUEST */
export function challengeRequestOf(body: Uint8Array): z.output<typeof challengeRequest> {
  return requestOf(challengeRequest, body)
}

/** @throws MetabindError VERIFY_FORMAT, VERIFY_SIZE, ENROL_REQUEST */
export function answerOf(body: Uint8Array): Answer {
  return decodeAnswer(Buffer.from(JSON.stringify(requestOf(enrolRequest, body).answer) ?? ''))
}

function requestOf<T extends z.ZodType>(schema: T, body: Uint8Array): z.output<T> {
  const parsed = schema.safeParse(parseStrictJson(body))
  if (parsed.success) return parsed.data
  throw new MetabindError('ENROL_REQUEST', describe(parsed.error))
}
