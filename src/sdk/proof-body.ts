import { tokenHash } from '../format/token-hash.ts'

/** What a DPoP proof is for (RFC 9449). */
export interface DpopAsked {
  readonly kind?: 'dpop'
  readonly method: string
  /** Of the request, whole; query and fragment are left out of the proof. */
  readonly url: string
  /** That goes with the request, if it has one. It does not leave this process: the agent is told its hash. */
  readonly accessToken?: string
  /** Of the header DPoP-Nonce of an answer of the service. */
  readonly nonce?: string
}

/** What a Workload Proof Token is for (draft-ietf-wimse-wpt). It names no method. */
export interface WptAsked {
  readonly kind: 'wpt'
  readonly url: string
  /** The Workload Identity Token that goes with the request. Of this and of the others the agent is told the hash. */
  readonly identityToken: string
  readonly accessToken?: string
  readonly transactionToken?: string
}

/** The body of `POST /metabind/v1/proof`. */
export function proofBody(asked: DpopAsked | WptAsked): string {
  const { url, accessToken } = asked
  const ath = hashOf(accessToken)
  if (asked.kind !== 'wpt') {
    const { method, nonce } = asked
    return JSON.stringify({ kind: 'dpop', method, url, ath, nonce })
  }
  const { identityToken, transactionToken } = asked
  const tth = hashOf(transactionToken)
  return JSON.stringify({ kind: 'wpt', url, wth: tokenHash(identityToken), ath, tth })
}

function hashOf(token: string | undefined): string | undefined {
  return token === undefined ? undefined : tokenHash(token)
}
