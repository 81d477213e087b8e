import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { readPrivateFile, writePrivateFile } from '../storage/private-file.ts'

/** The first generation of a boot; `revoke --all` starts another, with a random name. */
export const FIRST_GENERATION = '00000000000000000000000000000000'
const FILE_BYTES_MAX = 4_194_304
/** Single tokens remembered as revoked at one time; each is forgotten when it expires. */
export const REVOCATIONS_MAX = 32_768
// Between two writes of the file, however many tokens expire; and as timers do not count suspend.
const FORGET_MS_MIN = 1000
const FORGET_MS_MAX = 60_000

const schema = z.strictObject({
  generation: z.string().regex(/^[0-9a-f]{32}$/),
  tokens: z
    .array(z.tuple([z.string().regex(/^[0-9a-f]{16}$/), z.int().min(0)]))
    .max(REVOCATIONS_MAX),
})

/** What was revoked in this boot. Kept in the runtime directory, so that a restart forgets nothing. */
export interface Revocations {
  /** Mixed into the context of the token keys: another generation is other keys. */
  readonly generation: string
  isRevoked(random: string): boolean
  /** @throws MetabindError LIMIT_REVOCATIONS, DIRECTORY_FAULT; nothing is revoked then */
  revokeToken(random: string, expiresAtMs: number): void
  /** Starts a new generation; the caller derives the keys again. @throws MetabindError DIRECTORY_FAULT */
  revokeAll(): void
}

/**
 * @param runtimeDirectory where the file `revocations` is
 * @param bootTimeMs the clock of token expiry
 */
export function loadRevocations(runtimeDirectory: string, bootTimeMs: () => number): Revocations {
  const path = join(runtimeDirectory, 'revocations')
  let { generation, tokens } = read(path)
  let forgetting: NodeJS.Timeout | undefined
  const save = (nextGeneration: string, next: ReadonlyMap<string, number>): void => {
    const file = { generation: nextGeneration, tokens: [...next] }
    writePrivateFile(path, Buffer.from(JSON.stringify(file)))
    generation = nextGeneration
    tokens = next
    forgetLater()
  }
  const alive = () => [...tokens].filter(([, endMs]) => endMs > bootTimeMs())
  // At its expiry nothing of a token remains, nor that it was revoked.
  const forget = () => {
    try {
      const left = alive()
      if (left.length < tokens.size) save(generation, new Map(left))
      else forgetLater()
    } catch {
      // The disk is full or gone. The file says too much, not too little: it can wait.
      forgetLater(FORGET_MS_MAX)
    }
  }
  const forgetLater = (atLeastMs = FORGET_MS_MIN) => {
    clearTimeout(forgetting)
    if (tokens.size === 0) return
    const first = [...tokens.values()].reduce((one, other) => Math.min(one, other))
    const waitMs = Math.min(Math.max(first - bootTimeMs(), atLeastMs), FORGET_MS_MAX)
    forgetting = setTimeout(forget, waitMs).unref()
  }
  forgetLater()
  return {
    get generation() {
      return generation
    },
    isRevoked: (random) => tokens.has(random),
    revokeToken: (random, expiresAtMs) => {
      const left = alive()
      if (left.length >= REVOCATIONS_MAX) throw new MetabindError('LIMIT_REVOCATIONS')
      save(generation, new Map([...left, [random, expiresAtMs]]))
    },
    revokeAll: () => save(randomBytes(16).toString('hex'), new Map()),
  }
}

interface Revoked {
  readonly generation: string
  readonly tokens: ReadonlyMap<string, number>
}

function read(path: string): Revoked {
  const bytes = readPrivateFile(path, FILE_BYTES_MAX)
  if (bytes === undefined) return { generation: FIRST_GENERATION, tokens: new Map() }
  const parsed = schema.safeParse(parseJson(bytes))
  // What it revoked is not known, and nothing of that may revive: all tokens of before are over.
  // By its digest, so that the tokens made from here on outlive the next start.
  if (!parsed.success) return { generation: generationOf(bytes), tokens: new Map() }
  return { generation: parsed.data.generation, tokens: new Map(parsed.data.tokens) }
}

function generationOf(corrupt: Buffer): string {
  return createHash('sha256').update(corrupt).digest('hex').slice(0, 32)
}
