import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser'
import { type ErrorCode, MetabindError } from './errors.ts'
import { tomlExcess } from './toml-bounds.ts'

/** Table names and keys, and places in lists, from the outside in. */
export type KeyPath = readonly (string | number)[]

/** A parsed TOML document that can still say where each of its keys stands. */
export interface TomlDocument {
  readonly value: unknown
  /** The line, from 1, of the key at `path`, or of its nearest parent that is in the document. */
  lineOf(path: KeyPath): number
  /** Whether the document has the key at `path`. */
  has(path: KeyPath): boolean
}

const BYTE_ORDER_MARK = /^\uFEFF/

/**
 * Parses TOML 1.0. Deep nesting is refused before the parser, which recurses, sees it.
 *
 * @param text the document; a byte order mark before it is passed over
 * @param file named in errors
 * @param code of the error: what kind of file it is
 * @throws MetabindError of that code, with file and line
 */
export function parseToml(
  text: string,
  file: string,
  code: ErrorCode = 'CONFIG_INVALID',
): TomlDocument {
  const refuse = (line: number, why: string): never => {
    throw new MetabindError(code, `${file}:${line}: ${why}.`)
  }
  const plain = text.replace(BYTE_ORDER_MARK, '')
  const excess = tomlExcess(plain)
  if (excess !== undefined) refuse(excess.line, excess.why)
  const program = parse(plain, refuse)
  const root: Place = { line: undefined, below: new Map() }
  collectLines(program.body[0].body, root, refuse)
  return {
    value: getStaticTOMLValue(program),
    lineOf: (path) => placesOn(root, path).findLast(({ line }) => line !== undefined)?.line ?? 1,
    has: (path) => placesOn(root, path)[path.length]?.line !== undefined,
  }
}

/** Throws what is wrong with the document, with its place. */
type Refuse = (line: number, why: string) => never

function parse(text: string, refuse: Refuse): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: '1.0.0' })
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    return refuse(error.lineNumber, error.message)
  }
}

/** Where the keys stand, as a tree: whole paths as keys would grow with the square of the depth. */
interface Place {
  /** Undefined of a table that only stands within the names of others. */
  line: number | undefined
  readonly below: Map<string | number, Place>
}

function collectLines(
  nodes: readonly (AST.TOMLTable | AST.TOMLKeyValue)[],
  parent: Place,
  refuse: Refuse,
): void {
  for (const node of nodes) {
    const isTable = node.type === 'TOMLTable'
    const line = node.loc.start.line
    const path = isTable ? node.resolvedKey : node.key.keys.map(keyName)
    // The value would have it as its prototype, not as a key: it would go unseen.
    if (path.includes('__proto__')) refuse(line, '__proto__ cannot be a key')
    const place = placeBelow(parent, path)
    place.line = line
    const nested = isTable
      ? node.body
      : node.value.type === 'TOMLInlineTable'
        ? node.value.body
        : []
    collectLines(nested, place, refuse)
  }
}

function placeBelow(parent: Place, path: KeyPath): Place {
  let place = parent
  for (const key of path) {
    const next: Place = place.below.get(key) ?? { line: undefined, below: new Map() }
    place.below.set(key, next)
    place = next
  }
  return place
}

/** The document, and what of the path is in it, from the outside in. */
function placesOn(root: Place, path: KeyPath): Place[] {
  const places = [root]
  for (const key of path) {
    const next = places.at(-1)?.below.get(key)
    if (next === undefined) break
    places.push(next)
  }
  return places
}

function keyName(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === 'TOMLBare' ? key.name : key.value
}
