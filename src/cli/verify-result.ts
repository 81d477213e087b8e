import { createHash } from 'node:crypto'
import type { ParseArgsOptionsConfig } from 'node:util'
import { UsageError } from '../errors.ts'
import { durationSeconds } from '../format/duration.ts'
import {
  RESULT_FORMATS,
  RESULT_SECONDS_DEFAULT,
  RESULT_SECONDS_MAX,
  type ResultFormat,
  signResult,
  type Verified,
  type VerifyOptions,
} from '../verify/index.ts'
import { VERSION } from '../version.ts'
import { readSecretFile, writeFile } from './files.ts'
import { choiceOf } from './options.ts'

/** The options that say how a result is signed for others to read. */
export const RESULT_OPTIONS = {
  result: { type: 'string' },
  'result-key': { type: 'string' },
  'result-format': { type: 'string' },
  'result-life': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

export const RESULT_HELP = `  --result FILE        what was verified, signed for others: an EAT Attestation
                       Result; nothing of evidence that is refused
  --result-key FILE    the private key that signs it: PEM, PKCS #8, for its
                       owner alone
  --result-format jwt|cwt
                       JSON Web Token (default) or CBOR Web Token
  --result-life DURATION
                       how long it is valid, up to 1d (default 5m)
`

const KEY_BYTES_MAX = 64 * 1024

interface Values {
  readonly result?: string
  readonly 'result-key'?: string
  readonly 'result-format'?: string
  readonly 'result-life'?: string
}

/** What was asked for. */
interface Asked {
  readonly file: string
  readonly keyFile: string
  readonly format: ResultFormat
  readonly lifeSeconds: number
}

/**
 * Looks at what was typed.
 *
 * @returns undefined if no result is asked for
 * @throws UsageError
 */
export function askedResult(values: Values): Asked | undefined {
  const { result, 'result-key': keyFile } = values
  const life = values['result-life'] ?? `${RESULT_SECONDS_DEFAULT}`
  const lifeSeconds = durationSeconds('--result-life', life, RESULT_SECONDS_MAX)
  const format = choiceOf('--result-format', RESULT_FORMATS, values['result-format'] ?? 'jwt')
  const of = ['--result-format', '--result-life'].find((name) =>
    Object.hasOwn(values, name.slice(2)),
  )
  if (result === undefined && of !== undefined) throw new UsageError(`${of} belongs to --result`)
  if (result === undefined && keyFile === undefined) return undefined
  if (result === undefined || keyFile === undefined) {
    throw new UsageError('--result and --result-key belong together')
  }
  return { file: result, keyFile, format, lifeSeconds }
}

/**
 * Reads the key, before anything is verified.
 *
 * @returns what signs a result and writes it
 * @throws MetabindError FILE_UNUSABLE
 */
export function resultWriter(
  { file, keyFile, format, lifeSeconds }: Asked,
  { nonce, now, pcrPolicy }: VerifyOptions,
): (verified: Verified) => void {
  const key = readSecretFile(keyFile, KEY_BYTES_MAX)
  const verifier = { developer: 'https://metabind.invalid/', build: `metabind ${VERSION}` }
  const policyIds = pcrPolicy === undefined ? [] : [policyId(pcrPolicy)]
  const options = { key, format, nonce, now, lifeSeconds, verifier, policyIds }
  return (verified) => writeFile(file, signResult(verified, options))
}

/** The file by its digest (RFC 6920): whoever has it can tell that it is this one. */
function policyId(file: Uint8Array): string {
  return `ni:///sha-256;${createHash('sha256').update(file).digest('base64url')}`
}
