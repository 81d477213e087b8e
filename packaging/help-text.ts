import { execFileSync } from 'node:child_process'

/** What the command line says about itself: the one source of manual pages and completions. */
export interface Command {
  readonly help: string
  readonly verbs: readonly Verb[]
}

interface Verb {
  readonly name: string
  readonly summary: string
  readonly help: string
  readonly options: readonly string[]
  /** Words that stand right after the verb, such as the check of `metabind policy check`. */
  readonly words: readonly string[]
}

export function readCommand(node: string, cli: string): Command {
  const ask = (...args: string[]) =>
    execFileSync(node, [cli, ...args], { encoding: 'utf8', timeout: 20_000, cwd: '/' })
  const help = ask('--help')
  const verbs = [...help.matchAll(/^ {2}([\w-]+) {2,}(.+)$/gm)].map(
    ([, name = '', summary = '']) => {
      const text = ask(name, '--help')
      const options = [...text.matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm)].map(
        ([, option = '']) => option,
      )
      const words = wordsOf(name, text)
      return { name, summary, help: text, options: [...new Set([...options, '--help'])], words }
    },
  )
  return { help, verbs }
}

function wordsOf(verb: string, help: string): string[] {
  const usage = new RegExp(`^(?:Usage:|      ) metabind ${verb} ([a-z]+(?: \\| [a-z]+)*)`, 'gm')
  return [...help.matchAll(usage)].flatMap(([, words = '']) => words.split(' | '))
}

export function readHelp(node: string, program: string): string {
  return execFileSync(node, [program, '--help'], { encoding: 'utf8', timeout: 20_000, cwd: '/' })
}
