import type { z } from 'zod'
import { MetabindError, pathWithReason } from './errors.ts'
import { issueInWords } from './format/schema-issue.ts'
import { readFileAtMost } from './storage/read-at-most.ts'
import { type KeyPath, parseToml, type TomlDocument } from './toml.ts'

const CONFIG_BYTES_MAX = 262_144

/** One configuration file. */
export interface ConfigFile {
  /** Named in errors. */
  readonly file: string
  /** TOML. */
  readonly text: string
}

/**
 * Parses a configuration of several files: a key in a later one replaces that of an earlier one.
 *
 * @param schema every key with its bounds and default
 * @throws MetabindError CONFIG_INVALID with file, line, key and reason
 */
export function parseConfigFiles<Schema extends z.ZodType>(
  schema: Schema,
  files: readonly ConfigFile[],
): z.output<Schema> {
  const documents = files.map(({ file, text }) => ({ file, ...parseToml(text, file) }))
  const parsed = schema.safeParse(documents.map(({ value }) => value).reduce(merge, {}))
  if (parsed.success) return parsed.data
  // The key that is mistyped explains the one that is missing.
  const { issues } = parsed.error
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]
  if (issue === undefined) throw new MetabindError('CONFIG_INVALID')
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(keyPart)
  const at = holderOf(documents, path)
  const reason = issueInWords(issue)
  const place = `${at?.file}:${at?.lineOf(path) ?? 1}`
  throw new MetabindError('CONFIG_INVALID', `${place}: ${path.join('.')}: ${reason}.`)
}

/** The last file that has the key, or else its nearest parent: an element of a list has no line. */
function holderOf<T extends TomlDocument>(documents: readonly T[], path: KeyPath): T | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const holder = documents.findLast((document) => document.has(path.slice(0, length)))
    if (holder !== undefined) return holder
  }
  return documents.at(-1)
}

/**
 * Reads one configuration file. One that is not there is an error: it was asked for.
 *
 * @throws MetabindError CONFIG_UNREADABLE, CONFIG_INVALID
 */
export function readConfigFile(file: string): ConfigFile {
  let bytes: Buffer
  try {
    bytes = readFileAtMost(file, CONFIG_BYTES_MAX + 1)
  } catch (error) {
    throw new MetabindError('CONFIG_UNREADABLE', pathWithReason(file, error), error)
  }
  if (bytes.length > CONFIG_BYTES_MAX) {
    throw new MetabindError('CONFIG_INVALID', `${file}: longer than ${CONFIG_BYTES_MAX} bytes.`)
  }
  return { file, text: bytes.toString('utf8') }
}

/** Tables are merged key by key, everything else is replaced. */
function merge(earlier: unknown, later: unknown): unknown {
  if (!isTable(earlier) || !isTable(later)) return later
  const merged = new Map(Object.entries(earlier))
  for (const [key, value] of Object.entries(later)) merged.set(key, merge(merged.get(key), value))
  return Object.fromEntries(merged)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function keyPart(part: PropertyKey): string | number {
  return typeof part === 'symbol' ? String(part) : part
}
