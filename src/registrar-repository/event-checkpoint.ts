import { createPublicKey, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { CHAIN_BREAKS, type ChainHead } from '../audit/chain.ts'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint } from '../format/public-jwk.ts'
import { isEs256By, parseCompactJws } from '../verify/compact-jws.ts'

/**
 * A checkpoint: the registrar's signature of where the chain of its events ended. It is a JWS and no JWT: it has a type of
 * its own, none of the members that a token has, and is signed with a key that signs no token and that no verifier of
 * tokens is told of.
 */
export interface EventCheckpoint extends CheckpointClaims {
  /** What was signed, in compact form. */
  readonly jws: string
  /** Thumbprint of the key that has signed. */
  readonly kid: string
}

export const CHECKPOINT_TYPE = 'metabind-event-checkpoint+jws'
/** In compact form; a URL and a few thumbprints are what is long in it. */
const CHECKPOINT_CHARACTERS_MAX = 4096

const thumbprint = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const coordinate = thumbprint
const headerSchema = z.strictObject({
  alg: z.literal('ES256'),
  typ: z.literal(CHECKPOINT_TYPE),
  kid: thumbprint,
})
const claimsSchema = z.strictObject({
  /** The URL that the registrar is known by. */
  registrar: z.string().max(256),
  time: z.iso.datetime(),
  /** The last event. */
  seq: z.int().min(1),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  /** The key that has signed: who kept a checkpoint needs nothing else to verify it. */
  key: z.strictObject({
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    x: coordinate,
    y: coordinate,
  }),
  /** Thumbprints of the keys that follow: who trusts this one may trust them. */
  next: z.array(thumbprint).max(8),
})
export type CheckpointClaims = Readonly<z.infer<typeof claimsSchema>>

/**
 * Verifies one by the key that it names; whether that is the registrar's is for who calls.
 *
 * @throws MetabindError REGISTRAR_CHECKPOINT, whose detail says what is wrong with it
 */
export function readEventCheckpoint(jws: string): EventCheckpoint {
  if (jws.length > CHECKPOINT_CHARACTERS_MAX) malformed('too long')
  const parsed = parseCompactJws(jws, malformed)
  const header = headerSchema.safeParse(parsed.header)
  if (!header.success) return malformed('another header')
  const claims = claimsSchema.safeParse(parsed.payload())
  if (!claims.success) return malformed('other members')
  const { key } = claims.data
  const { kid } = header.data
  if (jwkThumbprint(key) !== kid) return malformed('its key is another than that of its header')
  if (!isEs256By(publicKeyOf(key), parsed)) {
    throw new MetabindError('REGISTRAR_CHECKPOINT', CHAIN_BREAKS.badSignature)
  }
  return { ...claims.data, jws, kid }
}

/** Coordinates may be of no point of the curve. */
function publicKeyOf(key: CheckpointClaims['key']): KeyObject {
  try {
    return createPublicKey({ key, format: 'jwk' })
  } catch (error) {
    return malformed('its key is none', error)
  }
}

function malformed(why: string, cause?: unknown): never {
  throw new MetabindError('REGISTRAR_CHECKPOINT', `${CHAIN_BREAKS.noCheckpoint}: ${why}`, cause)
}

/** The event that it signs. */
export function headOfCheckpoint({ seq, hash }: CheckpointClaims): ChainHead {
  return { seq, hash }
}
