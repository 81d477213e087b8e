import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The fenced blocks of a page, with the comment above each that says how it is run (CONTRIBUTING.md). */

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Every page whose console blocks are run. */
export const PAGES: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

export const textOf = (page: string): string => readFileSync(`${ROOT}${page}`, 'utf8')

/** What the comment above a block says. */
type Mark =
  | { readonly kind: 'run' }
  | { readonly kind: 'not run'; readonly reason: string }
  | { readonly kind: 'another terminal' }
  | { readonly kind: 'file'; readonly name: string }

export interface Block {
  /** For messages: the page and the line of the first fence. */
  readonly place: string
  readonly language: string
  readonly lines: readonly string[]
  readonly mark: Mark
}

const FENCE = /^( *)```(\w*)$/
const COMMENT = /^ *<!-- (not run|another terminal|file)(?:: (.+))? -->$/

/** @throws if a fence is not closed or a comment is none of those */
export function blocksOf(page: string): Block[] {
  const lines = textOf(page).split('\n')
  const blocks: Block[] = []
  for (let at = 0; at < lines.length; at++) {
    const [, indent = '', language = ''] = FENCE.exec(lines[at] ?? '') ?? []
    if (!FENCE.test(lines[at] ?? '')) continue
    const end = lines.indexOf(`${indent}\`\`\``, at + 1)
    const place = `${page}:${at + 1}`
    if (end === -1) throw new Error(`${place}: the block has no end`)
    const inside = lines.slice(at + 1, end).map((line) => line.slice(indent.length))
    blocks.push({ place, language, lines: inside, mark: markOf(lines[at - 1] ?? '', place) })
    at = end
  }
  return blocks
}

function markOf(above: string, place: string): Mark {
  if (!above.trimStart().startsWith('<!--')) return { kind: 'run' }
  const [, kind, rest] = COMMENT.exec(above) ?? []
  if (kind === 'another terminal' && rest === undefined) return { kind }
  if (kind === 'not run' && rest !== undefined) return { kind, reason: rest }
  if (kind === 'file' && rest !== undefined) return { kind, name: rest }
  throw new Error(`${place}: the comment above says nothing that is known: ${above.trim()}`)
}

/** Blocks that are typed into a shell: `sh` is pasted as a whole, `console` shows what is printed, too. */
export const isTyped = ({ language }: Block): boolean => language === 'sh' || language === 'console'
