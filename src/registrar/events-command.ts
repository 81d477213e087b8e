import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import { MetabindError, pathWithReason } from '../errors.ts'
import { jwkThumbprint } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import { publicJwkOf } from '../registrar-keys/sealed-keys.ts'
import {
  type EventVerdict,
  type PlacedCheckpoint,
  verifyEvents,
} from '../registrar-repository/event-verdict.ts'
import { readFileAtMost } from '../storage/read-at-most.ts'
import { type AdminCommandDeps, eventLines } from './admin-command.ts'

/** The verb `events`: the chain, its last checkpoint, or what is to be said of both. */

interface EventsOptions {
  /** The registrar's own name. */
  readonly url: string
  readonly checkpoint: boolean
  readonly verify: boolean
  readonly key?: string
  readonly files: readonly string[]
}

const EXIT_BROKEN = 1
const EXIT_UNSIGNED = 3
const KEY_BYTES_MAX = 65_536
/** Some ten thousand checkpoints. */
const KEPT_BYTES_MAX = 8_388_608

/** @returns the exit code @throws MetabindError REGISTRAR_CHECKPOINT, FILE_UNUSABLE */
export async function eventsCommand(
  deps: AdminCommandDeps,
  options: EventsOptions,
  say: (text: string) => void,
): Promise<number> {
  if (options.verify) return verified(deps, options, say)
  if (options.checkpoint) {
    const last = await deps.repository.lastCheckpoint()
    if (last === undefined) throw new MetabindError('REGISTRAR_CHECKPOINT', 'There is none yet.')
    say(`${last.jws}\n`)
    return 0
  }
  for await (const line of eventLines(deps)) say(line)
  return 0
}

async function verified(
  { repository, isJson }: AdminCommandDeps,
  { url, key, files }: EventsOptions,
  say: (text: string) => void,
): Promise<number> {
  const kids = key === undefined ? undefined : kidsIn(key)
  const found = await verifyEvents(repository, { url, kids, kept: files.flatMap(keptIn) })
  say(isJson ? `${JSON.stringify(found)}\n` : inWords(found, key !== undefined))
  if (found.broken !== undefined) return EXIT_BROKEN
  return key !== undefined && found.unsigned > 0 ? EXIT_UNSIGNED : 0
}

/** One checkpoint a line. */
function keptIn(file: string): readonly PlacedCheckpoint[] {
  const lines = readText(file, KEPT_BYTES_MAX).split('\n')
  // Nothing is made of blank ones, of which a file may have millions.
  const found = lines.flatMap((line, at) => {
    const text = line.trim()
    return text === '' ? [] : { file, line: at + 1, text }
  })
  if (found.length > 0) return found
  throw new MetabindError('FILE_UNUSABLE', `${file} holds no checkpoint.`)
}

const jwks = z.object({
  keys: z
    .array(z.looseObject({ kty: z.literal('EC'), crv: z.string(), x: z.string(), y: z.string() }))
    .min(1),
})

/** The thumbprints of what the registrar publishes, or of one key in PEM. */
function kidsIn(file: string): readonly string[] {
  const text = readText(file, KEY_BYTES_MAX)
  const set = jwks.safeParse(parseJson(text))
  if (set.success) return set.data.keys.map((key) => jwkThumbprint(key))
  try {
    return [jwkThumbprint(publicJwkOf(createPublicKey(text)))]
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', `${file} holds no public key.`, error)
  }
}

function readText(file: string, bytesMax: number): string {
  let bytes: Buffer
  try {
    bytes = readFileAtMost(file, bytesMax + 1)
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', pathWithReason(file, error), error)
  }
  if (bytes.length <= bytesMax) return bytes.toString('utf8')
  throw new MetabindError('FILE_UNUSABLE', `${file} is longer than ${bytesMax} bytes.`)
}

function inWords(found: EventVerdict, keyWasGiven: boolean): string {
  const { broken, head, records, first, checkpoints, signedUpTo, unsigned, keys } = found
  if (broken !== undefined) return `broken: ${broken.file}:${broken.line}: ${broken.reason}\n`
  const signed =
    signedUpTo === 0
      ? 'no checkpoint signs any of them'
      : `${checkpoints} checkpoints, signed up to record ${signedUpTo}`
  const lines = [`whole: ${records} records, ${first} to ${head.seq}`, signed, `head ${head.hash}`]
  if (unsigned > 0) {
    lines.push(`records after ${signedUpTo} are not signed: they could be anybody's, or cut off`)
  }
  if (!keyWasGiven) lines.push(...keys.map((key) => `signed with key ${key} (compare it: --key)`))
  return `${lines.join('\n')}\n`
}
