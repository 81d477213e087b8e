import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  ADMIN_CALLS,
  type Explanation,
  type OwnExplanation,
  type OwnProofExplanation,
  ownExplanationAnswer,
  ownProofExplanationAnswer,
} from '../admin-api.ts'
import { answerIn, callAdmin, isNotForUs } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { NO_GID } from '../caller/no-group.ts'
import { makeToken, postMetadata } from '../client.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { oneLine } from '../format/one-line.ts'
import { wholePath } from '../sdk/whole-path.ts'
import { askOfSelf } from './ask-of-self.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const EXIT_REFUSED = 3
// For one question.
const TTL_SECONDS = '60'

const run = promisify(execFile)

/** Only administrators are told of the rules that do not decide. */
type PassedOver = Partial<Pick<Explanation, 'passedOver'>>
type Answer = OwnExplanation & PassedOver
type ProofAnswer = OwnProofExplanation & PassedOver

export const explain: Verb = {
  summary: 'say which rule of the policy decides, and why',
  help: `Usage: metabind explain [USER] PATH [--unit UNIT] [--executable FILE]
                        [--container ID] [--json]
       metabind explain [USER] URL [--method METHOD] [--unit UNIT] ...

Says whether the policy in force lets USER (a name or a uid) read PATH, and
which rule decides. Without USER it is about whoever runs the command, as the
agent sees them, and anybody may ask. PATH is absolute (/latest/user-data) or
short: user-data, vendor-data and dynamic/... are below /latest/, all others
(instance-id) below /latest/meta-data/. A path where nothing is, is said to be
unknown. One that takes an audience is asked about with it:
/metabind/v1/identity?audience=NAME.

About a URL it says whether USER may have a proof for a request there (metabind
proof): of METHOD, or without it of any.

  --method METHOD      of the request, such as GET
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
    const { unit, executable, container, method } = values
    const described = { unit, executable, container }
    const sockets = socketsOf(values)
    if (/^https?:/i.test(path)) {
      const found = await askOfProof(sockets, user, { url: path, method, ...described })
      return tell('explain-proof', found, ofProof(found), values.json)
    }
    if (method !== undefined) throw new UsageError('--method goes with a URL')
    const found = await ask(sockets, user, { path: wholePath(path), ...described })
    return tell('explain', found, ofPath(found), values.json)
  },
}

function tell(
  name: 'explain' | 'explain-proof',
  found: Answer | ProofAnswer,
  words: string,
  asJson: boolean | undefined,
): number {
  if (asJson) printAnswer(name, found)
  else print(words + othersInWords(found))
  return found.allowed ? 0 : EXIT_REFUSED
}

interface Described {
  readonly unit: string | undefined
  readonly executable: string | undefined
  readonly container: string | undefined
}

function ask(
  sockets: Sockets,
  user: string | undefined,
  of: Described & { readonly path: string },
): Promise<Answer> {
  const ofUser = (ids: Ids) =>
    callAdmin(sockets, ADMIN_CALLS.explain, { ...ids, ...of, look: true })
  return askAbout<Answer>(user, of, ofUser, async () => {
    const token = await makeToken(sockets, TTL_SECONDS)
    return askOfSelf(sockets, `explain${of.path}`, ownExplanationAnswer, token)
  })
}

function askOfProof(
  sockets: Sockets,
  user: string | undefined,
  of: Described & { readonly url: string; readonly method: string | undefined },
): Promise<ProofAnswer> {
  const ofUser = (ids: Ids) => callAdmin(sockets, ADMIN_CALLS.explainproof, { ...ids, ...of })
  return askAbout<ProofAnswer>(user, of, ofUser, async () => {
    const { url, method } = of
    const token = await makeToken(sockets, TTL_SECONDS)
    const asked = JSON.stringify({ url, method })
    const { body } = await postMetadata(sockets, '/metabind/v1/explain-proof', token, asked)
    return answerIn(ownProofExplanationAnswer, body)
  })
}

/** Administrators ask about anybody, others about themselves: then the kernel says who asks. */
async function askAbout<Found>(
  user: string | undefined,
  { unit, executable, container }: Described,
  ofUser: (ids: Ids) => Promise<Found>,
  ofSelf: () => Promise<Found>,
): Promise<Found> {
  const isDescribed = [unit, executable, container].some((one) => one !== undefined)
  if (user === undefined) {
    if (!isDescribed) return ofSelf()
    throw new UsageError('--unit, --executable and --container describe a USER; name one')
  }
  const ids = await idsOf(user)
  try {
    return await ofUser(ids)
  } catch (error) {
    if (!isNotForUs(error) || isDescribed || ids.uid !== process.getuid?.()) throw error
    return ofSelf()
  }
}

const OPTIONS = {
  ...SOCKET_OPTIONS,
  unit: { type: 'string' },
  executable: { type: 'string' },
  container: { type: 'string' },
  method: { type: 'string' },
  json: { type: 'boolean' },
} as const

interface Ids {
  readonly uid: number
  readonly gid: number
  readonly groups: number[]
}

/** The ids that a process of this user has after a login (id(1)). */
async function idsOf(user: string): Promise<Ids> {
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

function ofPath({ allowed, why, mode, path, known }: Answer): string {
  const verdict = allowed ? 'allowed' : mode === 'audit' ? 'allowed, but recorded' : 'refused'
  const unknown = known === false ? 'unknown: there is no such path here; it would be ' : ''
  return `${oneLine(`${path}: ${unknown}${verdict}: ${why}`)}\n`
}

function ofProof({ allowed, why, url, method }: ProofAnswer): string {
  const verdict = allowed ? 'allowed' : 'refused'
  return `${oneLine(`a proof for ${method ?? 'any method'} ${url}: ${verdict}: ${why}`)}\n`
}

function othersInWords({ passedOver = [] }: PassedOver): string {
  return passedOver
    .map(({ rule, name, mismatch }) => `rule ${rule} (${name}) is not about it: ${mismatch}`)
    .map((line) => `${oneLine(line)}\n`)
    .join('')
}
