import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser'
import { type ErrorCode, MetabindError } from '../errors.ts'

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

/**
 * Parses TOML 1.0.
 *
 * @param text the document
 * @param file named in errors
 * @param code of the error: what kind of file it is
 * @throws MetabindError of that code, with file and line
 */
export function parseToml(
  text: string,
  file: string,
  code: ErrorCode = 'CONFIG_INVALID',
): TomlDocument {
  let program: AST.TOMLProgram
  try {
    program = parseTOML(text, { tomlVersion: '1.0.0' })
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    throw new MetabindError(code, `${file}:${error.lineNumber}: ${error.message}.`)
  }
  const lines = new Map<string, number>()
  collectLines(program.body[0].body, [], lines)
  for (const [path, line] of lines) {
    // The value below would have it as its prototype, not as a key: it would go unseen.
    if (!JSON.parse(path).includes('__proto__')) continue
    throw new MetabindError('CONFIG_INVALID', `${file}:${line}: __proto__ cannot be a key.`)
  }
  return {
    value: getStaticTOMLValue(program),
    lineOf: (path) => nearestLine(lines, path),
    has: (path) => lines.has(JSON.stringify(path)),
  }
}

function collectLines(
  nodes: readonly (AST.TOMLTable | AST.TOMLKeyValue)[],
  prefix: KeyPath,
  lines: Map<string, number>,
): void {
  for (const node of nodes) {
    if (node.type === 'TOMLTable') {
      lines.set(JSON.stringify(node.resolvedKey), node.loc.start.line)
      collectLines(node.body, node.resolvedKey, lines)
    } else {
      const path = [...prefix, ...node.key.keys.map(keyName)]
      lines.set(JSON.stringify(path), node.loc.start.line)
      if (node.value.type === 'TOMLInlineTable') collectLines(node.value.body, path, lines)
    }
  }
}

function keyName(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === 'TOMLBare' ? key.name : key.value
}

function nearestLine(lines: ReadonlyMap<string, number>, path: KeyPath): number {
  for (let length = path.length; length > 0; length -= 1) {
    const line = lines.get(JSON.stringify(path.slice(0, length)))
    if (line !== undefined) return line
  }
  return 1
}
