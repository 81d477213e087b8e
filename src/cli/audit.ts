import { createPublicKey, type KeyObject } from 'node:crypto'
import { closeSync, readSync } from 'node:fs'
import { ADMIN_CALLS } from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import { LINE_READ_BYTES_MAX } from '../audit/chain.ts'
import { type ChainVerdict, type Expected, verifyAudit } from '../audit/verify.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { openReadable, readSmallFile } from './files.ts'
import { actionOf, parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const EXIT_BROKEN = 1
const EXIT_UNSIGNED = 3
const FILES_MAX = 1000
const KEY_BYTES_MAX = 4096
const CHUNK_BYTES = 1_048_576
const HEX_HASH = /^[0-9a-f]{64}$/

export const audit: Verb = {
  summary: 'check that audit files are whole',
  help: `Usage: metabind audit verify FILE... [--key FILE] [--head HASH | --running]
                             [--json]

Checks the hash chain of audit files, given in the order in which they were
written (the oldest first), and the signatures of its checkpoints.

  --key FILE           the public key, in PEM, that checkpoints must be signed
                       with; then one must be there, and records at the end that
                       none signs are reported. Without it the key that they
                       name themselves is printed
  --head HASH          the hash that the last record must have
  --running            ask the running agent where its chain ends, and look for
                       that record
  --json               print the result as JSON
${SOCKET_HELP}
Exit codes: 0 whole, 1 broken (the line and what is wrong with it are printed),
2 wrong usage, 3 whole, but with --key: the last records are not signed.
`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      key: { type: 'string' },
      head: { type: 'string' },
      running: { type: 'boolean' },
      json: { type: 'boolean' },
    } as const
    const { values, positionals } = parseVerb(args, options, FILES_MAX)
    const [word, ...files] = positionals
    actionOf('audit', ['verify'], word)
    if (files.length === 0) throw new UsageError('FILE is missing')
    const expected = await expectedOf(values)
    const found = verifyAudit(
      files.map((name) => ({ name, lines: linesOf(name) })),
      expected,
    )
    if (values.json) printAnswer('audit-verify', found)
    else print(inWords(found, expected.key !== undefined))
    if (found.broken !== undefined) return EXIT_BROKEN
    return expected.key !== undefined && found.unsigned > 0 ? EXIT_UNSIGNED : 0
  },
}

interface Values {
  readonly key?: string
  readonly head?: string
  readonly running?: boolean
  readonly socket?: string
  readonly 'admin-socket'?: string
}

async function expectedOf(values: Values): Promise<Expected> {
  if (values.head !== undefined && values.running) {
    throw new UsageError('--head and --running exclude each other')
  }
  if (values.head !== undefined && !HEX_HASH.test(values.head)) {
    throw new UsageError('--head must be 64 hexadecimal digits in lower case')
  }
  return {
    key: values.key === undefined ? undefined : await readKey(values.key),
    head: values.running ? await runningHead(values) : lastHead(values.head),
  }
}

function lastHead(hash: string | undefined): Expected['head'] {
  return hash === undefined ? undefined : { hash, last: true }
}

/** The agent goes on writing: its record must be there, not be the last. */
async function runningHead(values: Values): Promise<Expected['head']> {
  const found = await readAdmin(socketsOf(values), ADMIN_CALLS.status)
  if (found.audit === undefined) {
    throw new MetabindError('FILE_UNUSABLE', 'The running agent writes no audit file.')
  }
  return { hash: found.audit.head, last: false }
}

async function readKey(file: string): Promise<KeyObject> {
  const pem = await readSmallFile(file, KEY_BYTES_MAX)
  try {
    return createPublicKey(pem)
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', `${file} holds no public key in PEM.`, error)
  }
}

/** The lines of a file of any size. What follows the last line end counts as a line too. */
function* linesOf(path: string): Generator<string> {
  const descriptor = openReadable(path)
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES)
    let rest = Buffer.alloc(0)
    for (let read = readSync(descriptor, chunk); read > 0; read = readSync(descriptor, chunk)) {
      rest = Buffer.concat([rest, chunk.subarray(0, read)])
      let start = 0
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
        yield rest.toString('latin1', start, end)
        start = end + 1
      }
      rest = rest.subarray(start)
      // No record is that long, so this ends the verification.
      if (rest.length > LINE_READ_BYTES_MAX) break
    }
    if (rest.length > 0) yield `${rest.toString('latin1', 0, LINE_READ_BYTES_MAX)} (no line end)`
  } finally {
    closeSync(descriptor)
  }
}

function inWords(found: ChainVerdict, keyWasGiven: boolean): string {
  const { broken, head, records, first, lost, checkpoints, signedUpTo, unsigned, keys } = found
  if (broken !== undefined) return `broken: ${broken.file}:${broken.line}: ${broken.reason}\n`
  const signed =
    signedUpTo === 0
      ? 'no checkpoint signs any of them'
      : `${checkpoints} checkpoints, signed up to record ${signedUpTo}`
  const lines = [`whole: ${records} records, ${first} to ${head.seq}`, signed, `head ${head.hash}`]
  if (unsigned > 0) {
    const after = head.seq - unsigned
    lines.push(`records after ${after} are not signed: they could be anybody's, or cut off`)
  }
  if (lost > 0) lines.push(`the agent could not write ${lost} records; the chain says where`)
  if (!keyWasGiven) lines.push(...keys.map((key) => `signed with key ${key} (compare it: --key)`))
  return `${lines.join('\n')}\n`
}
