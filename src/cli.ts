#!/usr/bin/env node
import { activate } from './cli/activate.ts'
import { audit } from './cli/audit.ts'
import { config } from './cli/config.ts'
import { credential } from './cli/credential.ts'
import { doctor } from './cli/doctor.ts'
import { evidence } from './cli/evidence.ts'
import { exec } from './cli/exec.ts'
import { explain as explainPolicy } from './cli/explain.ts'
import { get } from './cli/get.ts'
import { identity } from './cli/identity.ts'
import { inspect } from './cli/inspect.ts'
import { lockdown } from './cli/lockdown.ts'
import { observe } from './cli/observe.ts'
import { ClosedOutput, complain, print } from './cli/output.ts'
import { policy } from './cli/policy.ts'
import { revoke } from './cli/revoke.ts'
import { simulate } from './cli/simulate.ts'
import { status } from './cli/status.ts'
import { token } from './cli/token.ts'
import type { Verb } from './cli/verb.ts'
import { verify } from './cli/verify.ts'
import { ERRORS } from './error-table.ts'
import { MetabindError, UsageError } from './errors.ts'
import { VERSION } from './version.ts'

const VERBS: Readonly<Record<string, Verb>> = {
  status,
  token,
  get,
  credential,
  exec,
  inspect,
  revoke,
  identity,
  evidence,
  activate,
  verify,
  explain: explainPolicy,
  policy,
  audit,
  lockdown,
  observe,
  doctor,
  config,
  simulate,
}

const EXIT_FAILED = 1
const EXIT_USAGE = 2
// As of a process that SIGPIPE has ended, which Node ignores.
const EXIT_CLOSED_OUTPUT = 141

function help(): string {
  const lines = Object.entries(VERBS).map(([name, verb]) => `  ${name.padEnd(12)}${verb.summary}\n`)
  return `Usage: metabind VERB [ARGUMENTS]

Speaks to the metabind agent of this instance.

${lines.join('')}
metabind VERB --help says more. metabind --version prints the version.
`
}

async function run(args: readonly string[]): Promise<number> {
  const [name = '--help', ...rest] = args
  if (name === '--help' || name === 'help') print(help())
  else if (name === '--version') print(`metabind ${VERSION}\n`)
  else return runVerb(name, rest)
  return 0
}

async function runVerb(name: string, args: readonly string[]): Promise<number> {
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
  if (verb === undefined) throw new UsageError(`there is no verb '${name}'`)
  // What stands behind the command of exec belongs to that command.
  if (args[0] === '--help' || (name !== 'exec' && args.includes('--help'))) {
    print(verb.help)
    return 0
  }
  return verb.run(args)
}

/** One line: what went wrong, and what to try. */
function explain(error: unknown, verb: string | undefined): string {
  if (error instanceof UsageError) {
    const known = verb !== undefined && Object.hasOwn(VERBS, verb)
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
    if (!(error instanceof ClosedOutput)) complain(explain(error, args[0]).replaceAll('\n', ' '))
    process.exitCode = exitCodeOf(error)
  }
}

void main(process.argv.slice(2))
