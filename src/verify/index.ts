/**
 * metabind/verify: verifies what a metabind agent says about its instance. No TPM, no network, no
 * files, no clock of its own. docs/verify.md has an example.
 */
export {
  type Answer,
  type Challenge,
  decodeAnswer,
  decodeChallenge,
  decodeKeptSecret,
  decodeToolsCredential,
  encodeAnswer,
  encodeChallenge,
  encodeKeptSecret,
  encodeToolsCredential,
  type KeptSecret,
} from '../format/activation.ts'
export { identityDocumentAudience } from '../format/evidence-nonce.ts'
export type { IdentityClaims } from '../format/identity-token.ts'
export {
  ALIYUN_EK_ANCHORS,
  ALIYUN_EKMF_CERTIFICATE,
  ALIYUN_IDENTITY_CERTIFICATE,
} from './aliyun.ts'
export { CHALLENGE_LIFE_MS, finishChallenge, makeChallenge } from './challenge.ts'
export { CLAIMS, type Claim } from './claims.ts'
export type { ClockRecord } from './clock.ts'
export { type ExpectedToken, verifyIdentityToken } from './identity-token.ts'
export type { FinishedActivation } from './subject.ts'
export type { PublicJwk } from './tpm-key.ts'
export { type ParsedTrust, parseTrust, type Trust } from './trust.ts'
export type { Verified } from './verified.ts'
export { CHECKS, type VerifyOptions, verifyEvidence } from './verify.ts'
export { type VerifyCode, VerifyError } from './verify-error.ts'
