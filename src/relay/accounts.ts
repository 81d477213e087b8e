import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Accounts } from './policy-file.ts'

const run = promisify(execFile)
// A directory service (LDAP, SSSD) may have to be asked over the network.
const GETENT_MS_MAX = 5000

/**
 * Finds the numbers of users and groups: in /etc/passwd and /etc/group, and where a name is in
 * neither, by getent(1), which asks what nsswitch.conf says. Asked when a policy is loaded, never
 * while a request waits.
 */
export async function lookUpAccounts(names: {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}): Promise<Accounts> {
  return {
    users: await numbersOf('passwd', names.users),
    groups: await numbersOf('group', names.groups),
  }
}

async function numbersOf(
  database: 'passwd' | 'group',
  names: readonly string[],
): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  if (names.length === 0) return found
  const lines = (await readFile(`/etc/${database}`, 'utf8')).split('\n')
  const local = new Map(lines.flatMap(entryOf))
  for (const name of names) {
    const number = local.get(name) ?? (await askGetent(database, name))
    if (number !== undefined) found.set(name, number)
  }
  return found
}

/** One line of passwd(5) or group(5): the number is the third field of both. */
function entryOf(line: string): [string, number][] {
  const [name, , number] = line.split(':')
  if (name === undefined || number === undefined || !/^\d{1,10}$/.test(number)) return []
  return [[name, Number(number)]]
}

async function askGetent(database: string, name: string): Promise<number | undefined> {
  try {
    const { stdout } = await run('getent', ['--', database, name], { timeout: GETENT_MS_MAX })
    return entryOf(stdout.split('\n', 1)[0] ?? '')[0]?.[1]
  } catch {
    // Not found, or nobody to ask: either way the name has no number here, and the policy that
    // names it is refused.
    return undefined
  }
}
