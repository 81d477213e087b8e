/**
 * metabind/verify: verifies what a metabind agent says about its instance. No TPM, no network, no
 * files, no clock of its own. docs/verify.md has an example.
 */
export type { VerifyCode } from '../errors.ts'
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
export { EVIDENCE_MEDIA_TYPE } from '../format/cmw.ts'
export { identityDocumentAudience, type Qualifier } from '../format/evidence-nonce.ts'
export type { IdentityClaims } from '../format/identity-token.ts'
export type { DpopClaims, WptClaims } from '../format/proof.ts'
export { jwkThumbprint } from '../format/public-jwk.ts'
export type { PublicJwk } from '../format/tpm-key.ts'
export { RESULT_SECONDS_MAX } from '../results/result-claims.ts'
export {
  RESULT_FORMATS,
  RESULT_SECONDS_DEFAULT,
  type ResultFormat,
  type ResultOptions,
  signResult,
} from '../results/sign-result.ts'
export { type ResultDemands, type VerifiedResult, verifyResult } from '../results/verify-result.ts'
export {
  ALIYUN_EK_ANCHORS,
  ALIYUN_EKMF_CERTIFICATE,
  ALIYUN_IDENTITY_CERTIFICATE,
} from './aliyun.ts'
export { type AnchorNeeds, anchorNeeds } from './anchor-needs.ts'
export { CHALLENGE_LIFE_MS, finishChallenge, makeChallenge } from './challenge.ts'
export { CLAIMS, type Claim } from './claims.ts'
export {
  type ExpectedDpopProof,
  type VerifiedDpopProof,
  verifyDpopProof,
} from './dpop-proof.ts'
export { type ExpectedToken, verifyIdentityToken } from './identity-token.ts'
export { decodeRecord, encodeRecord, type VerificationRecord } from './record.ts'
export type { FinishedActivation } from './subject.ts'
export { type SuggestOptions, suggestPcrPolicy } from './suggest-policy.ts'
export { type ParsedTrust, parseTrust, type Trust } from './trust.ts'
export { joinTrust, TRUST_SETS, type TrustSetName } from './trust-sets.ts'
export { unwrapEvidence } from './unwrap-evidence.ts'
export type { Verified } from './verified.ts'
export { CHECKS, type VerifyOptions, verifyEvidence } from './verify.ts'
export { VerifyError } from './verify-error.ts'
export {
  type ExpectedWorkloadProof,
  type VerifiedWorkloadProof,
  verifyWorkloadProof,
} from './workload-proof.ts'
