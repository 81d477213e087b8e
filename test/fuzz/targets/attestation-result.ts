import { verifyResult } from '../../../src/verify/index.ts'
import { genuineResult, RESULT_DEMANDS } from '../genuine-result.ts'
import { signedTextTarget } from '../signed-text.ts'
import type { FuzzTarget } from '../target.ts'

export const target: FuzzTarget = signedTextTarget({
  execution: 'one text read as an attestation result; what was not signed may not be accepted',
  bytesMax: 2048,
  words: [
    '"alg":"ES256"',
    '"alg":"none"',
    '"typ":"eat+jwt"',
    '"exp":',
    '"submods":',
    '"ear_status":',
  ],
  genuine: genuineResult('jwt').toString(),
  verify: (token) => verifyResult(token, RESULT_DEMANDS),
  codes: /^VERIFY_(RESULT|PROVISIONAL)/,
})
