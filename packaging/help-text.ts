import { execFileSync } from 'node:child_process'

/** What the command line says about itself: the one source of manual pages and completions. */
export interface Command {
  readonly help: string
  readonly verbs: readonly Verb[]
}

/** What can stand somewhere: a few words, or one of the kinds that a shell or the agent can list. */
export type Kind = readonly string[] | 'file' | 'folder' | 'role' | 'path' | 'user' | 'command'

export interface Verb {
  readonly name: string
  readonly summary: string
  readonly help: string
  readonly options: readonly Option[]
  /** Words that stand right after the verb, such as the check of `metabind policy check`. */
  readonly words: readonly string[]
  /** What else stands behind the verb (`''`), or behind one of its words. */
  readonly operands: Readonly<Record<string, readonly Kind[]>>
}

interface Option {
  /** With its dashes. */
  readonly name: string
  readonly takesValue: boolean
  /** Of the value; undefined: nobody can list any. */
  readonly kind: Kind | undefined
}

/** By the name that the help gives to a value. docs/cli.md explains those that are not plain. */
const KINDS: Readonly<Record<string, Kind>> = {
  FILE: 'file',
  LOGFILE: 'file',
  CHALLENGE: 'file',
  ANSWER: 'file',
  SECRET: 'file',
  DIR: 'folder',
  ROLE: 'role',
  PATH: 'path',
  USER: 'user',
  COMMAND: 'command',
}

export function readCommand(node: string, cli: string): Command {
  const ask = (...args: string[]) =>
    execFileSync(node, [cli, ...args], { encoding: 'utf8', timeout: 20_000, cwd: '/' })
  const help = ask('--help')
  const verbs = [...help.matchAll(/^ {2}([\w-]+) {2,}(.+)$/gm)].map(([, name = '', summary = '']) =>
    verbOf(name, summary, ask(name, '--help')),
  )
  return { help, verbs }
}

/** @param help the whole text of `metabind VERB --help` */
function verbOf(name: string, summary: string, help: string): Verb {
  const lines = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)(?: (\S+))?(?: {2,}|$)/gm)]
  const options = lines.map(([, option = '', value]) => ({
    name: option,
    takesValue: value !== undefined,
    kind: value === undefined ? undefined : kindOf(value),
  }))
  const usages = usagesOf(name, help)
  const words = usages.flatMap(({ words: some }) => some)
  const operands: Record<string, Kind[]> = {}
  for (const { words: some, values } of usages) {
    for (const word of some.length === 0 ? [''] : some) {
      // Of several usages without a word the first is the common one.
      operands[word] ??= values.map((value) => KINDS[value]).filter((kind) => kind !== undefined)
    }
  }
  return { name, summary, help, options, words, operands }
}

function kindOf(value: string): Kind | undefined {
  return value.includes('|') ? value.split('|') : KINDS[value]
}

/** Each usage: its words, and the names of values that are not those of options. */
function usagesOf(verb: string, help: string) {
  const [usage = ''] = help.replace('Usage:', '      ').split('\n\n', 1)
  const whole = usage.split(/^ {7}(?=metabind )/m).filter((text) => text !== '')
  return whole.map((text) => {
    const rest = text.replaceAll(/\s+/g, ' ').replace(`metabind ${verb} `, '')
    const [words = ''] = /^[a-z][a-z-]*(?: \| [a-z][a-z-]*)*(?= |$)/.exec(rest) ?? []
    const plain = rest.replaceAll(/--[\w-]+(?: [A-Z]+| [a-z]+(?:\|[a-z]+)+)?/g, '')
    return {
      words: words === '' ? [] : words.split(' | '),
      values: plain.match(/\b[A-Z]+\b/g) ?? [],
    }
  })
}

export function readHelp(node: string, program: string): string {
  return execFileSync(node, [program, '--help'], { encoding: 'utf8', timeout: 20_000, cwd: '/' })
}
