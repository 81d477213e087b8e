#!/usr/bin/env node
import { writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ERRORS } from './error-table.ts'
import { causeChain, MetabindError, nodeErrorCode, UsageError } from './errors.ts'
import { nearestWord } from './format/nearest-word.ts'
import {
  type AdminCommandDeps,
  administered,
  instanceInFull,
  instanceLines,
} from './registrar/admin-command.ts'
import { ADMIN_ACTIONS } from './registrar/administration.ts'
import { openRepository } from './registrar/open-repository.ts'
import {
  REGISTRAR_CONFIG_FILE,
  type RegistrarConfig,
  readRegistrarConfig,
} from './registrar/registrar-config.ts'
import { markRotated } from './registrar-keys/rotate-mark.ts'
import { markRestored } from './registrar-repository/restore-mark.ts'
import { VERSION } from './version.ts'

const HELP = `Usage: metabind-registrar VERB [ARGUMENTS]

Knows the instances of a fleet, each of which proves by its TPM who it is, and
issues tokens for them.

  serve             answer instances and verifiers, until SIGTERM or SIGINT
  check             say, a row each, whether a registrar could begin with the
                    configuration, its files, certificate, database, master
                    key, and token of PKCS #11; change nothing
  list              print the instances
  show INSTANCE     print what is known of one, and for whom it has had tokens
  approve INSTANCE  let one in that is held, or go on that is suspended
  suspend INSTANCE  give it no tokens until it is approved
  evict INSTANCE    forget it: it may enrol again, as if it were new
  ban INSTANCE      its TPM may not enrol again, under no instance id
  events            print the chain of events, for metabind audit verify; with
                    --checkpoint the last signature of where it ended, with
                    --verify whether it is whole, by the checkpoints in FILE...
                    that were kept where the database is not, one a line
  rotate            have registrars make new keys at their next refresh, in a
                    minute; each signs once it was published for long enough
  backup FILE       copy the database, also while a registrar serves; what is
                    secret stays sealed under the master key, which is not in
                    there: keep that elsewhere
  restore [FILE]    put a backup in the place of the database, while none does;
                    for PostgreSQL without FILE, after it was restored

INSTANCE is an iid or four digits or more of its beginning, an instance id, or
what tokens name it by. The verbs work on the database, beside a registrar that
serves as well as without one.

  --config FILE     the configuration (default ${REGISTRAR_CONFIG_FILE});
                    given more than once, a later file replaces keys of an
                    earlier one
  --reason TEXT     why: of approve, suspend, evict and ban
  --checkpoint      of events: print the last checkpoint
  --verify          of events: check the chain, and the signatures of its end
  --key FILE        of events --verify: the key, in PEM, or keys, as they are
                    published (/events/jwks.json), that have to have signed
  --json            print JSON, of list a line for each instance
  -V, --version     print the version
  -h, --help        print this text

Exit codes: 0 done, 1 it failed, with a code and a sentence; 2 wrong usage.
Of events --verify: 0 whole, 1 broken (where and what is printed), 2 wrong
usage, 3 whole, but with --key: the last events are not signed.
`

const OPTIONS = {
  config: { type: 'string', multiple: true },
  reason: { type: 'string' },
  checkpoint: { type: 'boolean', default: false },
  verify: { type: 'boolean', default: false },
  key: { type: 'string' },
  json: { type: 'boolean', default: false },
  version: { type: 'boolean', short: 'V', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const
const REASON_CHARACTERS_MAX = 512

async function run(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS })
  if (values.help) return say(HELP)
  if (values.version) return say(`metabind-registrar ${VERSION}\n`)
  const [verb = '', ...words] = positionals
  const perform = performerOf(verb, words, values)
  const files = values.config ?? [REGISTRAR_CONFIG_FILE]
  if (verb === 'serve') {
    // The server and the verifier are most of what there is to load, and of no use to the other verbs.
    const { serve } = await import('./registrar/serve.ts')
    return serve(files)
  }
  const config = readRegistrarConfig(files)
  if (perform === undefined) {
    process.exitCode = await check(files, config, values.json)
    return
  }
  if (verb === 'backup' || (verb === 'restore' && words.length > 0)) {
    return copyDatabase(verb, words[0] ?? '', config.storage)
  }
  // A mistyped name would be a new database, in which nobody is.
  const repository = await openRepository(config.storage, 'refuse')
  try {
    process.exitCode = await perform(
      { repository, nowMs: Date.now, isJson: values.json },
      config.url,
    )
  } finally {
    await repository.close()
  }
}

/** @returns the exit code */
async function check(
  files: readonly string[],
  config: RegistrarConfig,
  isJson: boolean,
): Promise<number> {
  const { checkRows } = await import('./registrar/check.ts')
  const ofFiles = { what: 'configuration', says: `valid: ${files.join(', ')}`, fault: undefined }
  const rows = [ofFiles, ...(await checkRows(config, Date.now()))]
  for (const { what, says, fault } of rows) {
    const text = fault === undefined ? says : inFull(fault)
    const row = { what, isUsable: fault === undefined, code: fault?.code, says: text }
    say(isJson ? `${JSON.stringify(row)}\n` : `${what.padEnd(15)}${text.replaceAll('\n', ' ')}\n`)
  }
  return rows.some(({ fault }) => fault !== undefined) ? 1 : 0
}

const FILE_VERBS = ['backup', 'restore']

/** @throws UsageError */
function requireWords(verb: string, count: number): void {
  const isOfInstance = ADMIN_ACTIONS.some((one) => one === verb) || verb === 'show'
  if (FILE_VERBS.includes(verb)) {
    const isRight = count === 1 || (verb === 'restore' && count === 0)
    if (!isRight) throw new UsageError(`${verb} takes one FILE`)
  } else if (isOfInstance && count !== 1) {
    throw new UsageError(`${verb} takes one INSTANCE`)
  } else if (!isOfInstance && verb !== 'events' && count > 0) {
    throw new UsageError(`${verb} takes no words`)
  }
}

async function copyDatabase(
  verb: 'backup' | 'restore',
  file: string,
  storage: RegistrarConfig['storage'],
): Promise<void> {
  if (storage.postgresql !== undefined) {
    throw new MetabindError('REGISTRAR_DATABASE', 'PostgreSQL has its own copies (pg_dump).')
  }
  const { backUp, restore } = await import('./registrar-repository/sqlite-backup.ts')
  if (verb === 'backup') return backUp(storage.database, file)
  await restore(file, storage.database, `uid ${process.getuid?.()}`, Date.now())
  say(`restored; the database before is ${storage.database}.before-restore\n`)
}

/** @returns the exit code, if it is another than 0 */
type Perform = (deps: AdminCommandDeps, url: string) => Promise<number | undefined>

interface VerbOptions {
  readonly reason?: string
  readonly checkpoint: boolean
  readonly verify: boolean
  readonly key?: string
}

/** @returns what a verb does with the database; undefined for `serve` and `check` @throws UsageError */
function performerOf(
  verb: string,
  words: readonly string[],
  options: VerbOptions,
): Perform | undefined {
  const { reason } = options
  const action = ADMIN_ACTIONS.find((one) => one === verb)
  if (!VERBS.includes(verb)) throw new UsageError(verb === '' ? 'a verb is missing' : noVerb(verb))
  requireWords(verb, words.length)
  requireOfEvents(verb, words.length, options)
  if (reason !== undefined && (action === undefined || reason.length > REASON_CHARACTERS_MAX)) {
    throw new UsageError(
      `--reason is for ${ADMIN_ACTIONS.join(', ')}, of ${REASON_CHARACTERS_MAX} characters at most`,
    )
  }
  const [word = ''] = words
  const by = `uid ${process.getuid?.()}`
  if (action !== undefined) {
    return saying(async (deps) => say(await administered(deps, action, word, { reason, by })))
  }
  switch (verb) {
    case 'serve':
    case 'check':
      return undefined
    case 'list':
      return saying((deps) => sayEach(instanceLines(deps)))
    case 'show':
      return saying(async (deps) => say(await instanceInFull(deps, word)))
    case 'backup':
      return async () => undefined
    case 'restore':
      return saying(({ repository, nowMs }) => markRestored(repository, by, nowMs()))
    case 'rotate':
      return saying(({ repository, nowMs }) => markRotated(repository, by, nowMs()))
    case 'events':
      return async (deps, url) => {
        const { eventsCommand } = await import('./registrar/events-command.ts')
        return eventsCommand(deps, { ...options, url, files: words }, say)
      }
    default:
      throw new UsageError(noVerb(verb))
  }
}

const VERBS: readonly string[] = [
  'serve',
  'check',
  'list',
  'show',
  ...ADMIN_ACTIONS,
  'events',
  'rotate',
  'backup',
  'restore',
]

function noVerb(verb: string): string {
  const nearest = nearestWord(verb, VERBS)
  const proposal = nearest === undefined ? '' : `; did you mean '${nearest}'?`
  return `there is no verb '${verb}'${proposal}`
}

/** @throws UsageError */
function requireOfEvents(
  verb: string,
  files: number,
  { checkpoint, verify, key }: VerbOptions,
): void {
  if ((checkpoint || verify || key !== undefined) && verb !== 'events') {
    throw new UsageError('--checkpoint, --verify and --key are for events')
  }
  if (checkpoint && verify) throw new UsageError('--checkpoint and --verify exclude each other')
  if (!verify && key !== undefined) throw new UsageError('--key is for events --verify')
  if (!verify && verb === 'events' && files > 0) {
    throw new UsageError('events takes FILE with --verify alone')
  }
}

function saying(perform: (deps: AdminCommandDeps) => Promise<void>): Perform {
  return async (deps) => {
    await perform(deps)
    return undefined
  }
}

async function sayEach(lines: AsyncIterable<string>): Promise<void> {
  for await (const line of lines) say(line)
}

const STDOUT = 1
const END_MS_MAX = 1000

function say(text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) rest = rest.subarray(writeSync(STDOUT, rest))
}

/** What of a configuration file is wrong is in its own message. */
function inWords(error: MetabindError): string {
  return error.code.startsWith('CONFIG_') ? error.message : causeChain(error)
}

/** The system's own words end in no full stop. */
function ended(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

function inFull(error: MetabindError): string {
  return `${error.code}: ${ended(inWords(error))} ${ERRORS[error.code].remedy}`
}

/** One line: what went wrong, and what to try. @returns the exit code */
function complain(error: unknown): number {
  // Whoever reads the output has seen enough: as of a process that SIGPIPE has ended.
  if (nodeErrorCode(error) === 'EPIPE') return 141
  const isOurs = error instanceof MetabindError
  const said = isOurs
    ? inFull(error)
    : causeChain(error).split('. To specify a positional argument', 1).join('')
  const hint = isOurs ? '' : ' (try metabind-registrar --help)'
  process.stderr.write(`metabind-registrar: ${said.replaceAll('\n', ' ')}${hint}\n`)
  return isOurs ? 1 : 2
}

/** What keeps the process when all is done is a call into a module of PKCS #11 that does not return: it ends without. */
function endThough(): void {
  const end = async () => (await import('metabind-linux')).exitAtOnce(Number(process.exitCode ?? 0))
  setTimeout(() => void end(), END_MS_MAX).unref()
}

run()
  .catch((error: unknown) => {
    process.exitCode = complain(error)
  })
  .finally(endThough)
