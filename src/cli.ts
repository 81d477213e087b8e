#!/usr/bin/env node
import { credential } from './cli/credential.ts'
import { exec } from './cli/exec.ts'
import { get } from './cli/get.ts'
import { identity } from './cli/identity.ts'
import { ClosedOutput, complain, print } from './cli/output.ts'
import { token } from './cli/token.ts'
import type { Verb } from './cli/verb.ts'
import { ERRORS } from './error-table.ts'
import { MetabindError, UsageError } from './errors.ts'
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

async function verbOf(name: string): Promise<Verb | undefined> {
  const from = Object.hasOwn(OFTEN, name) ? OFTEN : await verbs()
  return Object.hasOwn(from, name) ? from[name] : undefined
}

async function help(): Promise<string> {
  const lines = Object.entries(await verbs()).map(
    ([name, verb]) => `  ${name.padEnd(12)}${verb.summary}\n`,
  )
  return `Usage: metabind VERB [ARGUMENTS]

Speaks to the metabind agent of this instance.

${lines.join('')}
metabind VERB --help says more. metabind --version prints the version.
`
}

async function run(args: readonly string[]): Promise<number> {
  const [name = '--help', ...rest] = args
  if (name === '--help' || name === 'help') print(await help())
  else if (name === '--version') print(`metabind ${VERSION}\n`)
  else return runVerb(name, rest)
  return 0
}

async function runVerb(name: string, args: readonly string[]): Promise<number> {
  const verb = await verbOf(name)
  if (verb === undefined) throw new UsageError(`there is no verb '${name}'`)
  // What stands behind the command of exec belongs to that command.
  if (args[0] === '--help' || (name !== 'exec' && args.includes('--help'))) {
    print(verb.help)
    return 0
  }
  return verb.run(args)
}

/** One line: what went wrong, and what to try. */
async function explain(error: unknown, verb = ''): Promise<string> {
  if (error instanceof UsageError) {
    const known = (await verbOf(verb)) !== undefined
    return `${error.message} (try metabind ${known ? `${verb} ` : ''}--help)`
  }
  if (error instanceof MetabindError) {
    const stop = error.message.endsWith('.') ? '' : '.'
    return `${error.code}: ${error.message}${stop} ${ERRORS[error.code].remedy}`
  }
  return error instanceof Error ? error.message : String(error)
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
