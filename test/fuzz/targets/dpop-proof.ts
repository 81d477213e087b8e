import { verifyDpopProof } from '../../../src/verify/index.ts'
import { GENUINE_NOW } from '../genuine.ts'
import { signedTextTarget } from '../signed-text.ts'
import type { FuzzTarget } from '../target.ts'

/** Of GENUINE_NOW, by a key that was made for it once. */
const GENUINE = [
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiX3dqOFExM2dLaFdFRFluYnBJc2JrTWJoLVpIQU9j',
  'UVY4d2xiaW5mVFBGcyIsInkiOiJPTVA3SWFxWnNTRXVNSXd3RGFoRk9ocDhhQmxyWXpXNDZpeEpSRkRaWldZIn19.eyJqdGkiOiJmdXp6IiwiaHRtIjoiR0VUIiwiaHR1Ijoia',
  'HR0cHM6Ly9hcGkuZXhhbXBsZS9mdXp6IiwiaWF0IjoxNzk1NDM1MjAwfQ.28Q-HZJATnnwv1CG2cnUHTmTIfau_VrSXoIN98syRmx9LNf9-aDl0Oq_Zebx4219kDAs5Sxhdk30Vg',
  't4Kupuxg',
].join('')
const EXPECTED = { method: 'GET', url: 'https://api.example/fuzz', now: GENUINE_NOW }

export const target: FuzzTarget = signedTextTarget({
  execution: 'one text verified as a DPoP proof; what was not signed may not be accepted',
  bytesMax: 768,
  words: ['"alg":"ES256"', '"alg":"none"', '"typ":"dpop+jwt"', '"jwk":', '"htu":', '"iat":'],
  genuine: GENUINE,
  verify: (proof) => verifyDpopProof(proof, EXPECTED),
  codes: /^VERIFY_PROOF/,
})
