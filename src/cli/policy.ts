import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { DIALECTS } from '../dialect/dialects.ts'
import { MetabindError } from '../errors.ts'
import { lookUpAccounts } from '../policy/accounts.ts'
import { loadPolicy, POLICY_FILE } from '../policy/load.ts'
import {
  openProofs,
  openSecrets,
  POLICY_BYTES_MAX,
  type PolicyDeps,
  parsePolicy,
} from '../policy/parse.ts'
import { decide, type Policy } from '../policy/policy.ts'
import { parseSeen, type Seen, suggestPolicy } from '../policy/suggest.ts'
import { checked } from './checked.ts'
import { isPipe, readSmallFile, unusable } from './files.ts'
import { actionOf, parseVerb } from './options.ts'
import { complain, print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

// What this command itself may see says nothing about the agent.
const PARTS: PolicyDeps = {
  lookUp: lookUpAccounts,
  secretPaths: Object.values(DIALECTS).flatMap(({ secretPaths }) => secretPaths),
  seesExecutables: true,
}

export const policy: Verb = {
  summary: 'check a policy, or suggest one from a log',
  help: `Usage: metabind policy check [FILE] [--json]
       metabind policy suggest [LOGFILE | -] [--json]

check says whether FILE (default ${POLICY_FILE}) is a valid
policy; if not, where it is wrong.

suggest reads the agent's log, written while the policy was in mode "audit", and
prints the least policy that allows what was seen:
journalctl -u metabindd -o cat | metabind policy suggest

  --json               print the answer as JSON
  -h, --help           print this text
`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, { json: { type: 'boolean' } }, 2)
    const [word, file] = positionals
    const asJson = values.json === true
    const action = actionOf('policy', ['check', 'suggest'], word)
    return action === 'check' ? check(file ?? POLICY_FILE, asJson) : suggest(file ?? '-', asJson)
  },
}

/**
 * @param file undefined: the one of the package, if there is one
 * @throws MetabindError POLICY_…
 */
export async function readPolicy(file: string | undefined): Promise<Policy> {
  return (await loadPolicy(file, PARTS)).policy
}

function check(file: string, asJson: boolean): Promise<number> {
  return checked('policy-check', file, asJson, async () => {
    const found = await readWritten(file)
    const { mode, rules } = found
    return {
      more: { mode, rules: rules.length },
      summary: `, ${rules.length} rules, mode ${mode}`,
      notes: notesOf(found),
    }
  })
}

/** A file as the agent would take it; what comes through a pipe is nobody else's to change. */
async function readWritten(file: string): Promise<Policy> {
  if (file !== '-' && !isPipe(file)) return readPolicy(file)
  const text = await readSmallFile(file, POLICY_BYTES_MAX)
  if (text.length > POLICY_BYTES_MAX) throw new MetabindError('POLICY_INVALID', `${file}: too long`)
  return parsePolicy(text, file, PARTS)
}

function notesOf(found: Policy): string[] {
  const notes = found.unknownAccounts.map((unknown) => `warning: ${unknown}`)
  for (const { number, name } of openSecrets(found)) {
    notes.push(`note: rule ${number} (${name}) opens secret paths to everybody`)
  }
  for (const { number, name } of openProofs(found)) {
    notes.push(`note: rule ${number} (${name}) gives proofs to everybody`)
  }
  if (found.rules.some(({ executables }) => executables !== undefined)) {
    notes.push('note: rules by executable need an agent with CAP_SYS_PTRACE')
  }
  return notes
}

async function suggest(file: string, asJson: boolean): Promise<number> {
  const { seen, skipped } = await readSeen(file)
  if (seen.length === 0) {
    throw new MetabindError('FILE_UNUSABLE', `${file} has no record policy.seen; is mode "audit"?`)
  }
  const text = suggestPolicy(seen, PARTS.secretPaths)
  await requireReplay(text, seen)
  if (asJson) printAnswer('policy-suggest', { policy: text, records: seen.length, skipped })
  else print(text)
  if (skipped > 0) {
    complain(`${skipped} records left out: their paths cannot be in a rule`)
  }
  return 0
}

async function readSeen(file: string): Promise<{ seen: Seen[]; skipped: number }> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const seen: Seen[] = []
  let skipped = 0
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      try {
        const one = parseSeen(line)
        if (one !== undefined) seen.push(one)
      } catch (error) {
        if (!(error instanceof MetabindError)) throw error
        skipped += 1
      }
    }
  } catch (error) {
    throw unusable(file, error)
  }
  return { seen, skipped }
}

/** What is printed has been tried: the policy allows every record that it was made from. */
async function requireReplay(text: string, seen: readonly Seen[]): Promise<void> {
  const suggested = await parsePolicy(text, 'suggestion', PARTS)
  const refused = seen.find(
    ({ caller, path, audience }) => !decide(suggested, caller, path, audience).allowed,
  )
  if (refused !== undefined) throw new MetabindError('INTERNAL', `refuses ${refused.path}`)
}
