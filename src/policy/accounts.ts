import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Accounts } from './parse.ts'

const run = promisify(execFile)
// A directory service (LDAP, SSSD) may have to be asked over the network. For all names together.
const LOOK_UP_MS_MAX = 5000
// Each is a process: the unit's TasksMax= has room for them beside the agent's threads.
const ASKED_AT_ONCE = 16
const DATABASES = { users: 'passwd', groups: 'group' } as const

interface Name {
  readonly of: keyof typeof DATABASES
  readonly name: string
}

/**
 * Finds the numbers of users and groups: in /etc/passwd and /etc/group, and if a name is in
 * neither, by getent(1), which asks what nsswitch.conf says. Asked when a policy is loaded, never
 * while a request waits. A name that has no number, or none in time, is left out.
 */
export async function lookUpAccounts(names: {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}): Promise<Accounts> {
  const found = { users: await inFile('users'), groups: await inFile('groups') }
  const unknown = (['users', 'groups'] as const).flatMap((of): Name[] =>
    names[of].filter((name) => !found[of].has(name)).map((name) => ({ of, name })),
  )
  const inTime = AbortSignal.timeout(LOOK_UP_MS_MAX)
  const waiting = unknown.values()
  const askNext = async (): Promise<void> => {
    // All of them take from the one iterator.
    for (const { of, name } of waiting) {
      const number = await askGetent(DATABASES[of], name, inTime)
      if (number !== undefined) found[of].set(name, number)
    }
  }
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askNext))
  return found
}

async function inFile(of: keyof typeof DATABASES): Promise<Map<string, number>> {
  const text = await readFile(`/etc/${DATABASES[of]}`, 'utf8').catch(() => '')
  return new Map(text.split('\n').flatMap(entryOf))
}

/** One line of passwd(5) or group(5): the number is the third field of both. */
function entryOf(line: string): [string, number][] {
  const [name, , number] = line.split(':')
  if (name === undefined || number === undefined || !/^\d{1,10}$/.test(number)) return []
  return [[name, Number(number)]]
}

async function askGetent(
  database: string,
  name: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const options = { signal, killSignal: 'SIGKILL' } as const
    const { stdout } = await run('getent', ['--', database, name], options)
    return entryOf(stdout.split('\n', 1)[0] ?? '')[0]?.[1]
  } catch {
    // Not found, not in time, or nobody to ask: either way the name has no number here.
    return undefined
  }
}
