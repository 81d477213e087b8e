import { verifyIdentityToken } from '../../../src/verify/index.ts'
import { GENUINE_NOW, readGenuine } from '../genuine.ts'
import { signedTextTarget } from '../signed-text.ts'
import type { FuzzTarget } from '../target.ts'

const { identityToken, identityKey } = readGenuine()
const EXPECTED = {
  ...{ sk: identityKey, audience: 'fuzz', instanceId: 'i-bp1234567890abcdefgh', iid: 'ab' },
  now: GENUINE_NOW,
}

export const target: FuzzTarget = signedTextTarget({
  execution: 'one text verified as an identity token; what was not signed may not be accepted',
  bytesMax: 512,
  words: ['"alg":"ES256"', '"alg":"none"', '"exp":', '"aud":', '"iid":'],
  genuine: identityToken,
  verify: (token) => verifyIdentityToken(token, EXPECTED),
  codes: /^VERIFY_TOKEN/,
})
