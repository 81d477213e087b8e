import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  ADMIN_CALLS,
  type Explanation,
  type OwnExplanation,
  ownExplanationAnswer,
} from '../admin-api.ts'
import { callAdmin, isNotForUs } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { NO_GID } from '../caller/no-group.ts'
import { makeToken } from '../client.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { wholePath } from '../sdk/whole-path.ts'
import { askOfSelf } from './ask-of-self.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { oneLine, print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const EXIT_REFUSED = 3
// For one question.
const TTL_SECONDS = '60'

const run = promisify(execFile)

/** Only administrators are told of the rules that do not decide. */
type Answer = OwnExplanation & Partial<Pick<Explanation, 'passedOver'>>

export const explain: Verb = {
  summary: 'say which rule of the policy decides, and why',
  help: `Usage: metabind explain [USER] PATH [--unit UNIT] [--executable FILE]
                        [--container ID] [--json]

Says whether the policy in force lets USER (a name or a uid) read PATH, and
which rule decides. Without USER it is about whoever runs the command, as the
agent sees them, and anybody may ask. PATH is absolute (/latest/user-data) or
short: user-data, vendor-data and dynamic/... are below /latest/, all others
(instance-id) below /latest/meta-data/. A path where nothing is, is said to be
unknown.

  --unit UNIT          as a process of this systemd unit
  --executable FILE    as a process that runs this file
  --container ID       as a process in this container
  --json               print the answer as JSON
${SOCKET_HELP}
Exit codes: 0 allowed, 3 refused.
`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, OPTIONS, 2)
    const path = positionals.at(-1)
    if (path === undefined) throw new UsageError('PATH is missing')
    const [user] = positionals.slice(0, -1)
    const { unit, executable, container } = values
    const of = { path: wholePath(path), unit, executable, container }
    const found = await ask(socketsOf(values), user, of)
    if (values.json) printAnswer('explain', found)
    else print(inWords(found))
    return found.allowed ? 0 : EXIT_REFUSED
  },
}

interface AskedOf {
  readonly path: string
  readonly unit: string | undefined
  readonly executable: string | undefined
  readonly container: string | undefined
}

/** Administrators ask about anybody, others about themselves: then the kernel says who asks. */
async function ask(sockets: Sockets, user: string | undefined, of: AskedOf): Promise<Answer> {
  const { path, ...described } = of
  const isDescribed = Object.values(described).some((one) => one !== undefined)
  if (user === undefined) {
    if (!isDescribed) return askSelf(sockets, path)
    throw new UsageError('--unit, --executable and --container describe a USER; name one')
  }
  const ids = await idsOf(user)
  try {
    return await callAdmin(sockets, ADMIN_CALLS.explain, { ...ids, ...of, look: true })
  } catch (error) {
    if (!isNotForUs(error) || isDescribed || ids.uid !== process.getuid?.()) throw error
    return askSelf(sockets, path)
  }
}

async function askSelf(sockets: Sockets, path: string): Promise<OwnExplanation> {
  const token = await makeToken(sockets, TTL_SECONDS)
  return askOfSelf(sockets, `explain${path}`, ownExplanationAnswer, token)
}

const OPTIONS = {
  ...SOCKET_OPTIONS,
  unit: { type: 'string' },
  executable: { type: 'string' },
  container: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** The ids that a process of this user has after a login (id(1)). */
async function idsOf(user: string): Promise<{ uid: number; gid: number; groups: number[] }> {
  const ask = async (what: string): Promise<number[]> => {
    const { stdout } = await run('id', [what, '--', user])
    return stdout.trim().split(' ').map(Number)
  }
  try {
    const [[uid = NO_GID], [gid = NO_GID], groups] = [
      await ask('-u'),
      await ask('-g'),
      await ask('-G'),
    ]
    return { uid, gid, groups }
  } catch {
    if (!/^\d{1,10}$/.test(user)) throw new MetabindError('ACCOUNT_ABSENT', `'${user}' is none.`)
    // A uid without an account.
    return { uid: Number(user), gid: NO_GID, groups: [] }
  }
}

function inWords({ allowed, why, mode, path, known, passedOver = [] }: Answer): string {
  const lines = passedOver.map(
    ({ rule, name, mismatch }) => `rule ${rule} (${name}) is not about it: ${mismatch}`,
  )
  const verdict = allowed ? 'allowed' : mode === 'audit' ? 'allowed, but recorded' : 'refused'
  const unknown = known === false ? 'unknown: there is no such path here; it would be ' : ''
  return [`${path}: ${unknown}${verdict}: ${why}`, ...lines]
    .map((line) => `${oneLine(line)}\n`)
    .join('')
}
