#!/usr/bin/env node
import { credential } from './cli/credential.ts'
import { exec } from './cli/exec.ts'
import { get } from './cli/get.ts'
import { identity } from './cli/identity.ts'
import { UnknownWord } from './cli/options.ts'
import { ClosedOutput, complain, print, printAnswer } from './cli/output.ts'
import { token } from './cli/token.ts'
import type { Verb } from './cli/verb.ts'
import { ERRORS } from './error-table.ts'
import { MetabindError, systemReason, UsageError } from './errors.ts'
import { VERSION } from './version.ts'

// What SDKs and scripts run each time. They load no schemas and no certificates.
const OFTEN: Readonly<Record<string, Verb>> = { token, get, credential, exec, identity }

const EXIT_FAILED = 1
const EXIT_USAGE = 2
// As of a process that SIGPIPE has ended, which Node ignores.
const EXIT_CLOSED_OUTPUT = 141

async function verbs(): Promise<Readonly<Record<string, Verb>>> {
  return (await import('./cli/verbs.ts')).VERBS
}

/** @throws UsageError if there is none */
async function verbOf(name: string): Promise<Verb> {
  const from = Object.hasOwn(OFTEN, name) ? OFTEN : await verbs()
  const verb = Object.hasOwn(from, name) ? from[name] : undefined
  if (verb !== undefined) return verb
  const known = [...Object.keys(from), 'help', 'version']
  throw new UnknownWord(`there is no verb '${name}'`, name, known)
}

async function help(): Promise<string> {
  const lines = Object.entries(await verbs()).map(
    ([name, verb]) => `  ${name.padEnd(12)}${verb.summary}\n`,
  )
  return `Usage: metabind VERB [ARGUMENTS]

Speaks to the metabind agent of this instance.

${lines.join('')}
metabind help VERB says more, as metabind VERB --help does.
metabind --version (-V, version) prints the version.
`
}

const HELP_WORDS = ['-h', '--help']
const VERSION_WORDS = ['-V', '--version']

async function run(args: readonly string[]): Promise<number> {
  const [name = 'help', ...rest] = args
  if (name === 'help' || HELP_WORDS.includes(name)) return printHelp(rest)
  if (name === 'version' || VERSION_WORDS.includes(name)) return printVersion(rest)
  return runVerb(name, rest)
}

/** @param words a verb and a word of it, or nothing */
async function printHelp([name]: readonly string[]): Promise<number> {
  const isOfAll = name === undefined || [...HELP_WORDS, 'help', 'version'].includes(name)
  print(isOfAll ? await help() : (await verbOf(name)).help)
  return 0
}

function printVersion(args: readonly string[]): number {
  const stray = args.find((word) => word !== '--json')
  if (stray !== undefined) throw new UsageError(`unexpected argument '${stray}'`)
  if (args.length > 0) printAnswer('version', { version: VERSION })
  else print(`metabind ${VERSION}\n`)
  return 0
}

async function runVerb(name: string, args: readonly string[]): Promise<number> {
  const verb = await verbOf(name)
  // What stands behind the command of exec belongs to that command.
  const own = name === 'exec' ? args.slice(0, 1) : beforeDashes(args)
  if (own.some((word) => HELP_WORDS.includes(word))) return printHelp([name])
  if (own.some((word) => VERSION_WORDS.includes(word))) return printVersion([])
  return verb.run(args)
}

function beforeDashes(args: readonly string[]): readonly string[] {
  const at = args.indexOf('--')
  return at < 0 ? args : args.slice(0, at)
}

/** One line: what went wrong, and what to try. */
async function explain(error: unknown, verb = ''): Promise<string> {
  if (error instanceof UsageError) {
    const known = Object.hasOwn(await verbs(), verb)
    return `${error.message}${await proposal(error)} (try metabind ${known ? `${verb} ` : ''}--help)`
  }
  if (error instanceof MetabindError) {
    const stop = error.message.endsWith('.') ? '' : '.'
    return `${error.code}: ${error.message}${stop} ${ERRORS[error.code].remedy}`
  }
  return systemReason(error) ?? (error instanceof Error ? error.message : String(error))
}

async function proposal(error: UsageError): Promise<string> {
  if (!(error instanceof UnknownWord)) return ''
  const { nearestWord } = await import('./format/nearest-word.ts')
  const nearest = nearestWord(error.word, error.known)
  return nearest === undefined ? '' : `; did you mean '${nearest}'?`
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_USAGE
  return error instanceof ClosedOutput ? EXIT_CLOSED_OUTPUT : EXIT_FAILED
}

async function main(args: readonly string[]): Promise<void> {
  try {
    process.exitCode = await run(args)
  } catch (error) {
    if (!(error instanceof ClosedOutput))
      complain((await explain(error, args[0])).replaceAll('\n', ' '))
    process.exitCode = exitCodeOf(error)
  }
}

void main(process.argv.slice(2))
