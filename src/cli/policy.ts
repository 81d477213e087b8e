import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { DIALECTS } from '../dialect/dialects.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { lookUpAccounts } from '../policy/accounts.ts'
import { loadPolicy, POLICY_FILE } from '../policy/load.ts'
import { openSecrets, type PolicyDeps, parsePolicy } from '../policy/parse.ts'
import { decide, type Policy } from '../policy/policy.ts'
import { parseSeen, type Seen, suggestPolicy } from '../policy/suggest.ts'
import { parseVerb } from './options.ts'
import { complain, print } from './output.ts'
import type { Verb } from './verb.ts'

// What this command itself may see says nothing about the agent.
const PARTS: PolicyDeps = {
  lookUp: lookUpAccounts,
  secretPaths: Object.values(DIALECTS).flatMap(({ secretPaths }) => secretPaths),
  seesExecutables: true,
}

export const policy: Verb = {
  summary: 'check a policy, or suggest one from a log',
  help: `Usage: metabind policy check [FILE]
       metabind policy suggest [LOGFILE|-]

check says whether FILE (default ${POLICY_FILE}) is a valid policy; if not, where it is wrong.

suggest reads the agent's log, written while the policy was in mode "audit", and prints the least
policy that allows what was seen: journalctl -u metabindd -o cat | metabind policy suggest

  --help               print this text
`,
  run: async (args) => {
    const { positionals } = parseVerb(args, {}, 2)
    const [word, file] = positionals
    if (word === 'check') return check(file ?? POLICY_FILE)
    if (word === 'suggest') return suggest(file ?? '-')
    throw new UsageError('the word check or suggest is missing')
  },
}

/**
 * @param file undefined: the one of the package, if there is one
 * @throws MetabindError POLICY_…
 */
export async function readPolicy(file: string | undefined): Promise<Policy> {
  return (await loadPolicy(file, PARTS)).policy
}

async function check(file: string): Promise<number> {
  const checked = await readPolicy(file)
  const lines = [`${file}: valid, ${checked.rules.length} rules, mode ${checked.mode}`]
  lines.push(...checked.unknownAccounts.map((unknown) => `warning: ${unknown}`))
  for (const { number, name } of openSecrets(checked)) {
    lines.push(`note: rule ${number} (${name}) opens secret paths to everybody`)
  }
  if (checked.rules.some(({ executables }) => executables !== undefined)) {
    lines.push('note: rules by executable need an agent with CAP_SYS_PTRACE')
  }
  print(`${lines.join('\n')}\n`)
  return 0
}

async function suggest(file: string): Promise<number> {
  const { seen, skipped } = await readSeen(file)
  if (seen.length === 0) {
    throw new MetabindError('FILE_UNUSABLE', `${file} has no record policy.seen; is mode "audit"?`)
  }
  const text = suggestPolicy(seen, PARTS.secretPaths)
  await requireReplay(text, seen)
  print(text)
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
    throw new MetabindError('FILE_UNUSABLE', file, error)
  }
  return { seen, skipped }
}

/** What is printed has been tried: the policy allows every record that it was made from. */
async function requireReplay(text: string, seen: readonly Seen[]): Promise<void> {
  const suggested = await parsePolicy(text, 'suggestion', PARTS)
  const refused = seen.find(({ caller, path }) => !decide(suggested, caller, path).allowed)
  if (refused !== undefined) throw new MetabindError('INTERNAL', `refuses ${refused.path}`)
}
