import { z } from 'zod'
import { askAdmin } from '../client.ts'
import { CLAIMS, type Claim } from '../verify/index.ts'
import { answerOf } from './answer.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printJson } from './output.ts'
import { refusedRole, roleInWords } from './refused-role.ts'
import { asRows } from './table.ts'
import type { Verb } from './verb.ts'

const EXIT_NOT_READY = 1

const answer = z.object({
  version: z.string(),
  state: z.string(),
  ready: z.boolean(),
  problem: z.object({ code: z.string(), sentence: z.string(), remedy: z.string() }).optional(),
  identity: z
    .object({
      dialect: z.string(),
      instanceId: z.string(),
      iid: z.string(),
      ekName: z.string(),
      akName: z.string(),
    })
    .optional(),
  tpm: z.object({
    tcti: z.string(),
    ek: z.string().optional(),
    unreadable: z.array(z.string()).optional(),
  }),
  selfTest: z
    .object({ anchor: z.string(), proven: z.array(z.string()), lacked: z.array(z.string()) })
    .optional(),
  source: z.object({
    dialect: z.string(),
    endpoint: z.string(),
    refusedRoles: z.array(refusedRole).optional(),
  }),
  policy: z.object({ mode: z.string(), from: z.string(), rules: z.number() }),
  lockdown: z
    .object({ state: z.string(), until: z.string().optional(), redirected: z.number() })
    .optional(),
  sockets: z.object({ metadata: z.string(), admin: z.string() }),
})
type Answer = z.infer<typeof answer>

export const status: Verb = {
  summary: 'say how the agent is',
  help: `Usage: metabind status [--json]

Says what state the agent is in, what instance it speaks for, and what it waits for.
Exits with 0 only when the agent is ready.

  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, json: { type: 'boolean' } } as const
    const { values } = parseVerb(args, options, 0)
    const raw = await askAdmin(socketsOf(values), 'GET', 'status')
    const found = answerOf(answer, raw)
    if (values.json) printJson(raw)
    else print(inWords(found))
    return found.ready ? 0 : EXIT_NOT_READY
  },
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
function lockdownInWords({ state, until, redirected }: NonNullable<Answer['lockdown']>): string {
  const end = until === undefined ? '' : `, rolls back at ${until} unless confirmed`
  return `${state}${end}, redirected connections: ${redirected}`
}

function inWords(found: Answer): string {
  const { problem, identity, tpm, selfTest, source, policy, lockdown, sockets } = found
  const rows: [string, string | undefined][] = [
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
    ['policy', `${policy.mode}, ${policy.rules} rules, ${policy.from}`],
    ['lockdown', lockdown && lockdownInWords(lockdown)],
    ['sockets', `${sockets.metadata}, ${sockets.admin}`],
    ['version', found.version],
  ]
  return asRows(rows, 10)
}
