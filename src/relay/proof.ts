import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { jwsOfTpm } from '../format/jws.ts'
import {
  type DpopClaims,
  dpopInput,
  methodText,
  nonceText,
  sha256Text,
  type WptClaims,
  wptInput,
} from '../format/proof.ts'
import type { PublicJwk } from '../format/public-jwk.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import { tokenHash } from '../format/token-hash.ts'
import type { ProofAsked } from '../policy/policy.ts'
import { readProofUrl } from '../policy/proof-url.ts'
import { Secret } from '../secret.ts'

/** A body may be as long as headers may be: what waits of a request stays the same. */
export const PROOF_BODY_BYTES_MAX = 8192
/** `exp` of a Workload Proof Token is so long after it was made. */
const WPT_SECONDS = 60

const token = z.string().regex(/^[\x21-\x7e]+$/, 'must be a token')
const url = z.string()
const asked = { url, access_token: token.optional(), ath: sha256Text.optional() }
const schema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      ...asked,
      kind: z.literal('dpop'),
      method: methodText,
      nonce: nonceText.optional(),
    }),
    z.strictObject({
      ...asked,
      kind: z.literal('wpt'),
      identity_token: token.optional(),
      wth: sha256Text.optional(),
      tth: sha256Text.optional(),
    }),
  ])
  .refine(({ access_token, ath }) => access_token === undefined || ath === undefined)

/** What a proof is to say, read; of tokens their hashes are left. */
export type ProofRequest = ProofAsked &
  (
    | {
        readonly kind: 'dpop'
        readonly ath: string | undefined
        readonly nonce: string | undefined
      }
    | {
        readonly kind: 'wpt'
        readonly wth: string
        readonly ath: string | undefined
        readonly tth: string | undefined
      }
  )

/**
 * Reads the body of a request for a proof.
 *
 * @throws MetabindError PROOF_REQUEST, PROOF_URL
 */
export function parseProofRequest(body: Buffer | undefined): ProofRequest {
  const parsed = schema.safeParse(jsonOf(body))
  if (!parsed.success) throw new MetabindError('PROOF_REQUEST', parsed.error.issues[0]?.message)
  const { data } = parsed
  const ath = hashOf(data.ath, data.access_token)
  if (data.kind === 'dpop') {
    const { kind, method, nonce } = data
    return { kind, method, url: readProofUrl(data.url), ath, nonce }
  }
  const wth = hashOf(data.wth, data.identity_token)
  const isOne = (data.wth === undefined) !== (data.identity_token === undefined)
  if (wth === undefined || !isOne) throw new MetabindError('PROOF_REQUEST', 'no wth, or two')
  return { kind: 'wpt', method: undefined, url: readProofUrl(data.url), wth, ath, tth: data.tth }
}

const requestSchema = z.strictObject({ url, method: methodText.optional() })

/** Reads what is asked about by who wants to know whether they may have a proof. @throws MetabindError PROOF_REQUEST, PROOF_URL */
export function parseProofAsked(body: Buffer | undefined): ProofAsked {
  const parsed = requestSchema.safeParse(jsonOf(body))
  if (!parsed.success) throw new MetabindError('PROOF_REQUEST', parsed.error.issues[0]?.message)
  return { url: readProofUrl(parsed.data.url), method: parsed.data.method }
}

function jsonOf(body: Buffer | undefined): unknown {
  try {
    return parseStrictJson(body ?? Buffer.of())
  } catch (error) {
    throw new MetabindError('PROOF_REQUEST', 'not JSON of one reading', error)
  }
}

function hashOf(hash: string | undefined, whole: string | undefined): string | undefined {
  return whole === undefined ? hash : tokenHash(whole)
}

/** Makes proofs that this instance has its SK. */
export interface Proofs {
  /** @throws MetabindError LIMIT_SIGNATURES, TPM_… */
  make(request: ProofRequest, uid: number): Promise<Secret<string>>
}

/** Whose proofs they are, and who signs them. */
export interface ProofsDeps {
  /** Of SK. */
  readonly jwk: PublicJwk
  /** TPMT_SIGNATURE over a text, by SK, for a user. */
  readonly sign: (text: string, uid: number) => Promise<Buffer>
  /** The wall clock, in milliseconds: services elsewhere have no other in common with us. */
  readonly wallTimeMs: () => number
}

export function proofs({ jwk, sign, wallTimeMs }: ProofsDeps): Proofs {
  const inputOf = (request: ProofRequest): string => {
    const seconds = Math.floor(wallTimeMs() / 1000)
    return request.kind === 'dpop'
      ? dpopInput(jwk, dpopClaims(request, seconds))
      : wptInput(wptClaims(request, seconds))
  }
  return {
    make: async (request, uid) => {
      const input = inputOf(request)
      return new Secret(jwsOfTpm(input, await sign(input, uid)))
    },
  }
}

function dpopClaims(
  { url, method = '', ath, nonce }: ProofRequest & { kind: 'dpop' },
  iat: number,
): DpopClaims {
  return {
    ...{ jti: randomUUID(), htm: method, htu: url.text, iat },
    ...(ath === undefined ? {} : { ath }),
    ...(nonce === undefined ? {} : { nonce }),
  }
}

function wptClaims(
  { url, wth, ath, tth }: ProofRequest & { kind: 'wpt' },
  seconds: number,
): WptClaims {
  return {
    ...{ jti: randomUUID(), aud: url.text, exp: seconds + WPT_SECONDS, wth },
    ...(ath === undefined ? {} : { ath }),
    ...(tth === undefined ? {} : { tth }),
  }
}
