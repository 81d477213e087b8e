import {
  ADMIN_CALLS,
  type AgentStatus,
  type LockdownKnown,
  type RegistrarStatus,
} from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import { requireListener, type Sockets } from '../agent-socket.ts'
import { oneLine } from '../format/one-line.ts'
import { CLAIMS, type Claim } from '../verify/index.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import { roleInWords } from './refused-role.ts'
import type { Tone } from './screen.ts'
import { asRows } from './table.ts'
import type { Verb } from './verb.ts'
import { watch, wrapped } from './watch.ts'

const EXIT_NOT_READY = 1
const VALUE_COLUMN = 10

const OPTIONS = {
  ...SOCKET_OPTIONS,
  json: { type: 'boolean' },
  watch: { type: 'boolean' },
} as const

export const status: Verb = {
  summary: 'say how the agent is',
  help: `Usage: metabind status [--json] [--watch]

Says what state the agent is in, what instance it speaks for, and what it waits
for. Exits with 0 only when the agent is ready, and its metadata socket answers
if --socket or METABIND_SOCKET names one.

  --json               print the answer as JSON
  --watch              show it again every two seconds, until interrupted, also
                       while no agent answers; in colour on a terminal, unless
                       NO_COLOR is set
${SOCKET_HELP}`,
  run: async (args) => {
    const { values } = parseVerb(args, OPTIONS, 0)
    const sockets = socketsOf(values)
    if (values.watch) return watchStatus(sockets, values.json === true)
    const found = await readAdmin(sockets, ADMIN_CALLS.status)
    if (values.json) printAnswer('status', found)
    else print(inWords(found))
    if (!found.ready) return EXIT_NOT_READY
    // The agent says where its own is; what was named could be another's, or nobody's.
    const named = values.socket ?? process.env.METABIND_SOCKET
    if (named !== undefined) await requireListener(named)
    return 0
  },
}

function watchStatus(sockets: Sockets, asJson: boolean): Promise<never> {
  return watch({
    title: 'metabind status',
    asJson,
    shape: 'status',
    ask: () => readAdmin(sockets, ADMIN_CALLS.status),
    jsonOf: (found) => found,
    pageOf: (found) =>
      rowsOf(found).flatMap(([name, value]) =>
        value === undefined
          ? []
          : wrapped(name.padEnd(VALUE_COLUMN), oneLine(value), toneOf(name, found)),
      ),
  })
}

function toneOf(name: string, { ready, state }: AgentStatus): Tone | undefined {
  if (name === 'problem') return 'bad'
  if (name !== 'state') return undefined
  return ready ? 'good' : state === 'stopped' ? 'bad' : 'fair'
}

const ANCHORS: Readonly<Record<string, string>> = {
  'ek-certificate': 'the EK certificate leads to a trust anchor',
  'ek-pin': 'the EK is pinned in the configuration',
  'ak-certificate': 'the AK certificate leads to a trust anchor',
  none: 'none: no certificate chain and no pin vouches for this TPM',
}

/** What the self-test says of each claim: one row for each. */
function sentences(
  kind: 'proven' | 'lacked',
  claims: readonly string[] = [],
): [string, string | undefined][] {
  return claims.map((claim) => {
    if (!isClaim(claim)) return [kind, claim]
    const { proven, notProven } = CLAIMS[claim]
    return [kind, kind === 'proven' ? proven : notProven]
  })
}

function isClaim(text: string): text is Claim {
  return Object.hasOwn(CLAIMS, text)
}

/** As the agent was told it, or has seen it; metabind lockdown status looks at the rules themselves. */
function lockdownInWords({ state, until, redirected }: LockdownKnown): string {
  const end = until === undefined ? '' : `, rolls back at ${until} unless confirmed`
  return `${state}${end}, redirected connections: ${redirected}`
}

function registrarInWords({ url, state, subject, expires, next }: RegistrarStatus): string {
  const as = subject === undefined ? '' : ` as ${subject}, until ${expires}`
  return `${state}${as}, at ${url}; asks again at ${next}`
}

function inWords(found: AgentStatus): string {
  return asRows(rowsOf(found), VALUE_COLUMN)
}

function rowsOf(found: AgentStatus): readonly (readonly [string, string | undefined])[] {
  const { problem, identity, tpm, selfTest, source, registrar, policy, lockdown, sockets } = found
  return [
    ['state', found.state],
    ['problem', problem && `${problem.code}: ${problem.sentence}`],
    ['try', problem?.remedy],
    ['instance', identity?.instanceId],
    ['identity', identity?.iid],
    ['tpm', tpm.ek === undefined ? tpm.tcti : `${tpm.tcti}, EK ${tpm.ek}`],
    ['anchor', selfTest && (ANCHORS[selfTest.anchor] ?? selfTest.anchor)],
    ...sentences('proven', selfTest?.proven),
    ...sentences('lacked', selfTest?.lacked),
    ...(tpm.unreadable ?? []).map((why): [string, string] => ['unread', why]),
    ['source', `${source.dialect} at ${source.endpoint}`],
    ...(source.refusedRoles ?? []).map((role): [string, string] => ['no role', roleInWords(role)]),
    ['registrar', registrar && registrarInWords(registrar)],
    ['no answer', registrar?.problem && `${registrar.problem.code}: ${registrar.problem.sentence}`],
    ['policy', `${policy.mode}, ${policy.rules} rules, ${policy.from}`],
    ['lockdown', lockdown && lockdownInWords(lockdown)],
    ['sockets', `${sockets.metadata}, ${sockets.admin}`],
    ['version', found.version],
  ]
}
