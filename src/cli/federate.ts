import { resolve } from 'node:path'
import { makeToken, readMetadata } from '../client.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { executableOutput, googleConfiguration, secondsOf } from './federate-google.ts'
import { writeSecretFile } from './files.ts'
import { endSignal, keepFile } from './keep-file.ts'
import { actionOf, choiceOf, parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

// For one call: the session token need not outlive the command by much.
const TTL_SECONDS = '60'
const AUDIENCES: Readonly<Partial<Record<Action, string>>> = {
  aws: 'sts.amazonaws.com',
  aliyun: 'sts.aliyuncs.com',
}
const ACTIONS = ['token', 'aws', 'aliyun', 'google', 'executable'] as const
type Action = (typeof ACTIONS)[number]
const FORMATS = ['id_token', 'access_token', 'jwt_svid', 'wit'] as const

const OPTIONS = {
  ...SOCKET_OPTIONS,
  audience: { type: 'string' },
  format: { type: 'string' },
  out: { type: 'string' },
  keep: { type: 'boolean' },
  role: { type: 'string' },
  provider: { type: 'string' },
  'service-account': { type: 'string' },
  json: { type: 'boolean' },
} as const
type Values = ReturnType<typeof parseVerb<typeof OPTIONS>>['values']

export const federate: Verb = {
  summary: "tokens of the fleet's registrar, for the SDKs of clouds",
  help: `Usage: metabind federate token --audience A [--format F] [--out FILE] [--keep]
       metabind federate aws --role ARN --out FILE [--audience A] [--keep]
       metabind federate aliyun --role ARN --provider ARN --out FILE
                         [--audience A] [--keep]
       metabind federate google --audience A [--service-account EMAIL]
       metabind federate executable --audience A

Tokens of the registrar, for which no secret is on this machine.

token prints one, or writes it into FILE. aws and aliyun write one into FILE,
and print the environment in which SDKs of AWS and Alibaba Cloud change it for
credentials of a role. google prints the configuration of credentials in which
Google's SDKs run executable, which prints a token as they expect it.

  --audience A         whom the token is for (aws: sts.amazonaws.com, aliyun:
                       sts.aliyuncs.com; google: the provider's full name,
                       //iam.googleapis.com/...)
  --format F           id_token, access_token, jwt_svid or wit (default: the
                       registrar's first for the audience)
  --out FILE           replaced as a whole, for its owner only
  --keep               go on, and write FILE anew at half of each token's life,
                       until interrupted
  --role ARN           the role that SDKs take
  --provider ARN       the OIDC provider that it trusts
  --service-account E  whose credentials are taken in the end
  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, OPTIONS, 1)
    const action = actionOf('federate', ACTIONS, positionals[0])
    requireOptions(action, values)
    if (values.format !== undefined) choiceOf('--format', FORMATS, values.format)
    const audience = values.audience ?? AUDIENCES[action] ?? ''
    if (!/^[\x21-\x7e]{1,256}$/.test(audience)) {
      throw new UsageError('--audience takes 1 to 256 characters of ASCII without blanks')
    }
    const fetchToken = () => tokenFor(values, audience)
    if (action === 'google') return printGoogle(values, audience)
    if (action === 'executable') return printExecutable(fetchToken)
    if (action === 'token' && values.out === undefined) {
      const token = await fetchToken()
      if (values.json) printAnswer('federate-token', { audience, token })
      else print(`${token}\n`)
      return 0
    }
    return writeTokens(action, values, fetchToken)
  },
}

/** What each of them takes; whatever else is given is a slip. */
const TAKEN: Readonly<
  Record<Action, { readonly must: readonly string[]; readonly may: readonly string[] }>
> = {
  token: { must: ['audience'], may: ['format', 'out', 'keep', 'json'] },
  aws: { must: ['role', 'out'], may: ['audience', 'keep', 'json'] },
  aliyun: { must: ['role', 'provider', 'out'], may: ['audience', 'keep', 'json'] },
  google: { must: ['audience'], may: ['service-account', 'json'] },
  executable: { must: ['audience'], may: [] },
}

/** @throws UsageError */
function requireOptions(action: Action, values: Values): void {
  const { must, may } = TAKEN[action]
  const missing = must.find((name) => !Object.hasOwn(values, name))
  if (missing !== undefined) throw new UsageError(`federate ${action} wants --${missing}`)
  const taken = [...must, ...may, ...Object.keys(SOCKET_OPTIONS)]
  const other = Object.keys(values).find((name) => !taken.includes(name))
  if (other !== undefined) throw new UsageError(`federate ${action} takes no --${other}`)
  if (values.keep && values.out === undefined) throw new UsageError('--keep belongs to --out')
  const printed = { ...values, out: fileIn(action, values) }
  for (const name of ['out', 'role', 'provider', 'service-account'] as const) {
    // What is printed is read line by line, by shells and systemd.
    if (/[^\x21-\x7e]|['"\\$`]/.test(printed[name] ?? '')) {
      throw new UsageError(`--${name} has a character that environments and shells read otherwise`)
    }
  }
}

/** The environment is for processes elsewhere: a path in it has to lead to the file from any directory. */
function fileIn(action: Action, { out = '' }: Values): string {
  return out === '' || action === 'token' ? out : resolve(out)
}

async function tokenFor(values: Values, audience: string): Promise<string> {
  const sockets = socketsOf(values)
  const format = values.format === undefined ? '' : `&format=${encodeURIComponent(values.format)}`
  const path = `/metabind/v1/token?audience=${encodeURIComponent(audience)}${format}`
  const { body } = await readMetadata(sockets, path, await makeToken(sockets, TTL_SECONDS))
  return body.toString('latin1')
}

/** The first token is awaited; then the environment is printed, which is good from there on. */
async function writeTokens(
  action: Action,
  values: Values,
  fetchToken: () => Promise<string>,
): Promise<number> {
  const out = fileIn(action, values)
  // Before anything is printed: whoever reads it may end this at once.
  const ending = values.keep ? endSignal() : undefined
  const token = await fetchToken()
  // Before anything else reads it as one.
  secondsOf(token)
  writeSecretFile(out, token)
  const environment = environmentFor(action, values, out)
  if (values.json) printAnswer('federate-file', { file: out, environment })
  else
    print(
      Object.entries(environment)
        .map((pair) => `${pair.join('=')}\n`)
        .join(''),
    )
  if (ending !== undefined) await keepFile(out, token, fetchToken, ending)
  return 0
}

function environmentFor(action: Action, values: Values, file: string): Record<string, string> {
  const { role = '', provider = '' } = values
  if (action === 'aws') return { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: role }
  if (action !== 'aliyun') return {}
  return {
    ALIBABA_CLOUD_OIDC_TOKEN_FILE: file,
    ALIBABA_CLOUD_OIDC_PROVIDER_ARN: provider,
    ALIBABA_CLOUD_ROLE_ARN: role,
  }
}

function printGoogle(values: Values, audience: string): number {
  const configuration = googleConfiguration(
    audience,
    values['service-account'],
    values.socket && resolve(values.socket),
  )
  if (values.json) printAnswer('federate-google', { configuration })
  else print(`${JSON.stringify(configuration, undefined, 2)}\n`)
  return 0
}

/** Its reader wants JSON and 0 whatever happens: what failed is in it. */
async function printExecutable(fetchToken: () => Promise<string>): Promise<number> {
  try {
    const token = await fetchToken()
    print(`${JSON.stringify(executableOutput(token, secondsOf(token)))}\n`)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    const { code, message } = error
    print(`${JSON.stringify({ version: 1, success: false, code, message })}\n`)
  }
  return 0
}
