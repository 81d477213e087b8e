import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { ByteReader, sized } from './byte-reader.ts'
import { describe } from './evidence.ts'
import { base64Bytes, hexBytes } from './json-codec.ts'
import { parseStrictJson } from './strict-json.ts'
import { NAME_BYTES_MAX } from './tpm-attest.ts'

/**
 * The files of credential activation (TPM 2.0 Part 1, 24): the verifier makes a challenge and keeps
 * a secret; the instance answers; the verifier compares. docs/evidence.md describes them.
 */

export const ACTIVATION_BYTES_MAX = 16 * 1024
/** TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, contents (Part 2, 12.4.3 and 11.4.33). */
const ID_OBJECT_BYTES_MAX = 132
const ENCRYPTED_SECRET_BYTES_MAX = 512
/** One digest at most; 32 fits every EK. */
export const SECRET_BYTES = 32

const version = z.literal(1)
const id = hexBytes(16, 16)
const name = hexBytes(22, NAME_BYTES_MAX)

const challengeSchema = z.strictObject({
  format: z.literal('metabind challenge'),
  version,
  id,
  ekName: name,
  akName: name,
  credentialBlob: base64Bytes(1, ID_OBJECT_BYTES_MAX),
  encryptedSecret: base64Bytes(1, ENCRYPTED_SECRET_BYTES_MAX),
})
const answerSchema = z.strictObject({
  format: z.literal('metabind answer'),
  version,
  id,
  secret: base64Bytes(0, 64),
})
const keptSecretSchema = z.strictObject({
  format: z.literal('metabind challenge secret'),
  version,
  id,
  ekName: name,
  akName: name,
  /** SHA-256 of the evidence document that the challenge was made for. */
  evidence: hexBytes(32, 32),
  secret: base64Bytes(SECRET_BYTES, SECRET_BYTES),
  /** Milliseconds since 1970. */
  expiresAtMs: z.int().nonnegative(),
})

/** What the instance gets. The blobs are contents without TPM2B size, as TPM2_ActivateCredential takes. */
export type Challenge = z.output<typeof challengeSchema>
/** What TPM2_ActivateCredential gave. */
export type Answer = z.output<typeof answerSchema>
/** What the verifier keeps to itself between challenge and answer. */
export type KeptSecret = z.output<typeof keptSecretSchema>

export function encodeChallenge(challenge: Challenge): string {
  return encode(challengeSchema, challenge)
}

/** @throws MetabindError VERIFY_SIZE, VERIFY_FORMAT */
export function decodeChallenge(bytes: Uint8Array): Challenge {
  return decode(challengeSchema, bytes)
}

export function encodeAnswer(answer: Answer): string {
  return encode(answerSchema, answer)
}

/** @throws MetabindError VERIFY_SIZE, VERIFY_FORMAT */
export function decodeAnswer(bytes: Uint8Array): Answer {
  return decode(answerSchema, bytes)
}

export function encodeKeptSecret(kept: KeptSecret): string {
  return encode(keptSecretSchema, kept)
}

/** @throws MetabindError VERIFY_SIZE, VERIFY_FORMAT */
export function decodeKeptSecret(bytes: Uint8Array): KeptSecret {
  return decode(keptSecretSchema, bytes)
}

function encode<T extends z.ZodType>(schema: T, value: z.output<T>): string {
  return `${JSON.stringify(z.encode(schema, value))}\n`
}

function decode<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.output<T> {
  if (bytes.length > ACTIVATION_BYTES_MAX) throw new MetabindError('VERIFY_SIZE')
  const parsed = schema.safeParse(parseStrictJson(bytes))
  if (!parsed.success) throw new MetabindError('VERIFY_FORMAT', describe(parsed.error))
  return parsed.data
}

/** Magic and version of the files of tpm2_makecredential and tpm2_activatecredential. */
const TOOLS_MAGIC = 0xbadcc0de
const TOOLS_VERSION = 1

type Blobs = Pick<Challenge, 'credentialBlob' | 'encryptedSecret'>

/** The blobs as the file that `tpm2_activatecredential -i` takes. */
export function encodeToolsCredential(blobs: Blobs): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(TOOLS_MAGIC, 0)
  head.writeUInt32BE(TOOLS_VERSION, 4)
  return Buffer.concat([head, sized(blobs.credentialBlob), sized(blobs.encryptedSecret)])
}

/** The blobs in the file that `tpm2_makecredential -o` makes. @throws MetabindError VERIFY_STRUCTURE */
export function decodeToolsCredential(bytes: Uint8Array): Blobs {
  const reader = new ByteReader(bytes, 'tpm2-tools credential')
  if (reader.u32() !== TOOLS_MAGIC) reader.refuse('no 0xBADCC0DE')
  if (reader.u32() !== TOOLS_VERSION) reader.refuse('another version than 1')
  const credentialBlob = reader.sized(ID_OBJECT_BYTES_MAX)
  const encryptedSecret = reader.sized(ENCRYPTED_SECRET_BYTES_MAX)
  reader.end()
  return { credentialBlob, encryptedSecret }
}
