import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { IDENTITY_TOKEN_CHARACTERS_MAX } from '../format/identity-token.ts'
import { parseJson } from '../json.ts'
import type { OpenCounts } from '../open-counts.ts'
import type { EnrolledInstance, InstanceState } from '../registrar-repository/enrolled-instance.ts'
import type { Repository } from '../registrar-repository/repository.ts'
import { verifyIdentityToken } from '../verify/identity-token.ts'
import { type Audience, audienceFor } from './audience-rules.ts'
import type { DpopNonces } from './dpop-nonce.ts'
import { type HeldProof, requireProofOfSk } from './dpop-proof.ts'
import { tokenSubject } from './subject.ts'
import { formatWanted, issuedTypeOf, type TokenFormat } from './token-format.ts'
import type { TokenIssuer, TokenOrder } from './token-issuer.ts'
import { tokenRequestOf } from './token-request.ts'

export interface TokenExchangeDeps {
  /** The registrar's own name, which identity tokens are for. */
  readonly url: string
  /** The token endpoint, which proofs are for. */
  readonly tokenUrl: string
  readonly audiences: readonly Audience[]
  readonly repository: Repository
  readonly tokens: TokenIssuer
  readonly nonces: DpopNonces
  /** Tokens that are signed now, by the iid of whom they are for. */
  readonly signing: OpenCounts<string>
  /** From when on identity tokens must have been made: of those before it is not known whether they were used. */
  readonly usableFromMs: () => number
  readonly nowMs: () => number
}

/** What of a request to the token endpoint counts. */
export interface ExchangeRequest {
  readonly form: string
  /** The values of its DPoP header fields. */
  readonly proofs: readonly string[]
}

/** An answer of the token endpoint (RFC 8693, 2.2.1). */
export interface ExchangedToken {
  readonly access_token: string
  readonly issued_token_type: string
  readonly token_type: 'N_A' | 'Bearer' | 'DPoP'
  readonly expires_in: number
}

/** A token of PKCS #11 signs a few in a second, and has a queue: no instance fills it alone. */
const SIGNED_AT_ONCE_MAX = 8

/**
 * Gives a token for one that an instance's SK signed for this registrar (RFC 8693, RFC 7523). It is used up only if a
 * token is given.
 *
 * @throws MetabindError REGISTRAR_…, ENROL_…, VERIFY_TOKEN…
 */
export async function exchangeToken(
  deps: TokenExchangeDeps,
  { form, proofs }: ExchangeRequest,
): Promise<ExchangedToken> {
  const nowMs = deps.nowMs()
  const request = tokenRequestOf(form)
  const instance = await instanceOfToken(deps, request.identityToken)
  const { iid, instanceId, sk } = instance
  const expected = { sk, iid, instanceId, audience: deps.url, now: new Date(nowMs) }
  const claims = verifyIdentityToken(request.identityToken, expected)
  requireActive(instance, nowMs)
  if (claims.iat * 1000 < deps.usableFromMs()) {
    throw new MetabindError('REGISTRAR_USED', 'It may have been, before the database was restored.')
  }
  const audience = audienceFor(deps.audiences, request.audience, instance)
  const format = formatWanted(audience.formats, request)
  const subject = tokenSubject(audience.subject, instance, claims)
  const proof = proofOf(deps, proofs, { format, audience, instance, nowMs })
  const id = createHash('sha256').update(`${iid} ${claims.jti}`).digest('hex')
  const statusIndex = await deps.repository.statusIndex(iid, nowMs)
  // It was let go between two reads.
  if (statusIndex === undefined) throw new MetabindError('ENROL_SUSPENDED')
  if (proof !== undefined && !(await deps.repository.takeOnce(proof, nowMs))) {
    throw new MetabindError('REGISTRAR_DPOP_REPLAY', subject.name)
  }
  const order = { format, instance, subject, audience, statusIndex, jkt: proof?.jkt }
  // Before the identity token is used up: a token of PKCS #11 may be away. Nobody has what was signed before it is.
  if ((await deps.repository.keptUntil(id)) !== undefined) throw new MetabindError('REGISTRAR_USED')
  const signed = await signedFor(deps, order)
  const exchanged = { id, expiresAtMs: claims.exp * 1000, iid, audience: audience.name }
  if (!(await deps.repository.exchange(exchanged, nowMs))) throw new MetabindError('REGISTRAR_USED')
  return {
    access_token: signed.reveal(),
    issued_token_type: issuedTypeOf(format),
    token_type: format === 'access_token' ? (proof ? 'DPoP' : 'Bearer') : 'N_A',
    expires_in: audience.lifetime_seconds,
  }
}

/** @throws MetabindError REGISTRAR_BUSY if so many are signed for the instance already; what the signing throws */
async function signedFor({ signing, tokens }: TokenExchangeDeps, order: TokenOrder) {
  const { iid } = order.instance
  if (signing.of(iid) >= SIGNED_AT_ONCE_MAX) {
    throw new MetabindError('REGISTRAR_BUSY', `${SIGNED_AT_ONCE_MAX} are signed for it now.`)
  }
  signing.add(iid, 1)
  try {
    return await tokens.issue(order)
  } finally {
    signing.remove(iid, 1)
  }
}

/** A proof with what is not bound to its key would tell whoever sent it that it is. */
function proofOf(
  { tokenUrl, nonces }: TokenExchangeDeps,
  proofs: readonly string[],
  order: {
    readonly format: TokenFormat
    readonly audience: Audience
    readonly instance: EnrolledInstance
    readonly nowMs: number
  },
): HeldProof | undefined {
  const { format, audience, instance, nowMs } = order
  if (proofs.length === 0) {
    if (format !== 'access_token' || audience.dpop === 'optional') return undefined
    throw new MetabindError('REGISTRAR_DPOP', 'none.')
  }
  if (format !== 'access_token') throw new MetabindError('REGISTRAR_DPOP', `with ${format}.`)
  return requireProofOfSk(proofs, { method: 'POST', url: tokenUrl, sk: instance.sk, nonces, nowMs })
}

const payloadSchema = z.looseObject({ iid: z.string().regex(/^[0-9a-f]{32}$/) })

/** Whose token it says that it is: by whose key its signature is verified next. */
async function instanceOfToken(deps: TokenExchangeDeps, token: string): Promise<EnrolledInstance> {
  const isShort = token.length <= IDENTITY_TOKEN_CHARACTERS_MAX
  const payload = Buffer.from(isShort ? (token.split('.', 2)[1] ?? '') : '', 'base64url')
  const said = payloadSchema.safeParse(parseJson(payload))
  if (!said.success) throw new MetabindError('VERIFY_TOKEN')
  const instance = await deps.repository.instance(said.data.iid)
  if (instance === undefined) throw new MetabindError('ENROL_UNKNOWN')
  return instance
}

const REFUSED: Readonly<Record<Exclude<InstanceState, 'active'>, ErrorCode>> = {
  held: 'ENROL_HELD',
  suspended: 'ENROL_SUSPENDED',
  evicted: 'ENROL_UNKNOWN',
  banned: 'ENROL_BANNED',
}

function requireActive({ state, expiresAtMs }: EnrolledInstance, nowMs: number): void {
  if (state !== 'active') throw new MetabindError(REFUSED[state])
  if (nowMs >= expiresAtMs) throw new MetabindError('ENROL_EXPIRED')
}

/** The word of OAuth for a refusal (RFC 6749, 5.2; RFC 8693, 2.2.2; RFC 9449, 5 and 8). */
export function oauthError(code: ErrorCode): string {
  return OAUTH_ERRORS[code] ?? 'invalid_request'
}

const OAUTH_ERRORS: Partial<Readonly<Record<ErrorCode, string>>> = {
  REGISTRAR_AUDIENCE: 'invalid_target',
  REGISTRAR_NOT_ALLOWED: 'invalid_target',
  REGISTRAR_GRANT: 'unsupported_grant_type',
  REGISTRAR_DPOP: 'invalid_dpop_proof',
  REGISTRAR_DPOP_REPLAY: 'invalid_dpop_proof',
  REGISTRAR_DPOP_NONCE: 'use_dpop_nonce',
}
