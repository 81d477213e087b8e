const NESTING_MAX = 32
// A policy of a thousand rules has about ten thousand keys and values.
const ENTRIES_MAX = 25_000
// The parser puts each character of a string on the stack.
const STRING_CHARACTERS_MAX = 16_384
// Strings and comments, within which brackets mean nothing; then what opens, closes and separates.
const TOKEN =
  /"""(?:\\[\s\S]|[^\\])*?"{3,5}|'''[\s\S]*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*|[[\]{}.,=\n]/g

/** What of a document is more than the parser, which recurses, should see. */
export interface TomlExcess {
  /** From 1. */
  readonly line: number
  readonly why: string
}

/**
 * Looks for nesting, numbers of keys and lengths of strings beyond the bounds. It need not be TOML:
 * if it is not, the parser stops at the place from which on this counts otherwise.
 */
export function tomlExcess(text: string): TomlExcess | undefined {
  let depth = 0
  let dots = 0
  let entries = 0
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const lead = token.charAt(0)
    const is = (signs: string) => signs.includes(lead)
    if (is('[{')) depth += 1
    if (is(']}')) depth = Math.max(0, depth - 1)
    if (is('.')) dots += 1
    // A quoted part of a key does not end it.
    if (is('[]{},=\n')) dots = 0
    if (is('[{,=.')) entries += 1
    const why = excessOf(depth, dots, entries, is('"\'') ? token.length : 0)
    if (why !== undefined) return { line: text.slice(0, index).split('\n').length, why }
  }
  return undefined
}

function excessOf(depth: number, dots: number, entries: number, stringCharacters: number) {
  if (depth > NESTING_MAX || dots >= NESTING_MAX) return `nested more than ${NESTING_MAX} deep`
  if (entries > ENTRIES_MAX) return 'too many keys and values'
  if (stringCharacters > STRING_CHARACTERS_MAX) return 'a string is too long'
  return undefined
}
