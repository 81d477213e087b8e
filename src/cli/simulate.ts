import { readFile } from 'node:fs/promises'
import { MetabindError, systemReason, UsageError } from '../errors.ts'
import { DIALECT_NAMES } from '../format/dialect-name.ts'
import { durationSeconds } from '../format/duration.ts'
import { CLOUDS } from '../simulate/clouds.ts'
import { commandCredentials } from '../simulate/command-credentials.ts'
import { type Fault, parseFault } from '../simulate/faults.ts'
import { isPathName } from '../simulate/metadata-service.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../simulate/simulator.ts'
import type { CredentialSource } from '../simulate/sts-credentials.ts'
import { unusable, writeFile } from './files.ts'
import { choiceOf, parseVerb } from './options.ts'
import { complain, print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const DEFAULT_ROLE = 'EcsRamRole'

const HELP = `Usage: metabind simulate [OPTIONS]

An ECS instance metadata server for development and tests. It needs no TPM and
no cloud; every value and credential it hands out is made up, unless
--credentials-command gets real ones. It prints where it listens and runs until
SIGINT or SIGTERM.

  --cloud aliyun|ec2   whose service it plays (default aliyun)
  --port N             TCP port; 0 takes a free one (default 0)
  --host ADDRESS       address to listen on (default 127.0.0.1)
  --socket FILE        listen on a Unix socket instead
  --instance-id ID     the instance that it plays (default: a random one)
  --region ID          its region (default cn-hangzhou, or eu-central-1)
  --role NAME          its RAM role (default ${DEFAULT_ROLE})
  --no-role            it has no RAM role
  --credentials-command COMMAND
                       serve the credentials that COMMAND prints, as one of an
                       SDK does (credential_process, process_command): real
                       ones, for whoever can reach the address
  --tag KEY=VALUE      an instance tag; can be repeated
  --tokens required|optional
                       are reads without a token refused (default required)
  --user-data FILE     its user data (default: none, 404)
  --vendor-data FILE   its vendor data (default: none, 404)
  --credential-lifetime DURATION
                       how long made-up credentials live (default 6h)
  --fault JSON         something that goes wrong, see docs/simulate.md; can be
                       repeated
  --control            serve /_simulator/: faults, requests, rotate, certificate
  --certificate-out FILE
                       write the certificate of the key that signs PKCS7 answers
  --json               print where it listens as JSON
  -h, --help           print this text
`

const OPTIONS = {
  cloud: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  socket: { type: 'string' },
  'instance-id': { type: 'string' },
  region: { type: 'string' },
  role: { type: 'string' },
  'no-role': { type: 'boolean' },
  'credentials-command': { type: 'string' },
  tag: { type: 'string', multiple: true },
  tokens: { type: 'string' },
  'user-data': { type: 'string' },
  'vendor-data': { type: 'string' },
  'credential-lifetime': { type: 'string' },
  fault: { type: 'string', multiple: true },
  control: { type: 'boolean' },
  'certificate-out': { type: 'string' },
  json: { type: 'boolean' },
} as const

type Flags = ReturnType<typeof parseVerb<typeof OPTIONS>>['values']

export const simulate: Verb = {
  summary: 'an ECS metadata server for development and tests',
  help: HELP,
  async run(args) {
    const flags = parseVerb(args, OPTIONS, 0).values
    const faults = (flags.fault ?? []).map(faultOf)
    const options = await simulatorOptions(flags)
    await using simulator = await start(options)
    for (const fault of faults) simulator.faults.set(fault)
    const { 'certificate-out': certificateOut } = flags
    if (certificateOut !== undefined) writeFile(certificateOut, simulator.certificatePem)
    // Before the line: whoever reads it may send the signal at once.
    const stopped = stopSignal()
    if (flags.json) printAnswer('simulate', described(simulator))
    else print(`listening on ${simulator.url}\n`)
    begin(options, simulator.url)
    await stopped
    return 0
  },
}

async function simulatorOptions(flags: Flags): Promise<SimulatorOptions> {
  const { role = DEFAULT_ROLE, 'no-role': noRole = false } = flags
  if (noRole && flags.role !== undefined)
    throw new UsageError('--role and --no-role exclude each other')
  const credentials = commandIn(flags)
  for (const name of [...(flags.tag ?? []).map((tag) => tagOf(tag)[0]), role]) requireName(name)
  const lifetime = flags['credential-lifetime'] ?? '6h'
  return {
    cloud: CLOUDS[choiceOf('--cloud', DIALECT_NAMES, flags.cloud ?? 'aliyun')],
    listen: listenOptions(flags),
    instanceId: flags['instance-id'],
    regionId: flags.region,
    role: noRole ? undefined : role,
    credentials,
    tags: Object.fromEntries((flags.tag ?? []).map(tagOf)),
    tokens: choiceOf('--tokens', ['required', 'optional'], flags.tokens ?? 'required'),
    credentialLifetimeSeconds: durationSeconds('--credential-lifetime', lifetime, 43_200),
    control: flags.control ?? false,
    userData: await readOptional(flags['user-data']),
    vendorData: await readOptional(flags['vendor-data']),
  }
}

/** The source of real credentials, if a command is named. */
function commandIn(flags: Flags): CredentialSource | undefined {
  const command = flags['credentials-command']
  if (command === undefined) return undefined
  if (command.trim() === '') throw new UsageError('--credentials-command takes a COMMAND')
  const other = (['no-role', 'credential-lifetime'] as const).find((name) => name in flags)
  if (other !== undefined) {
    throw new UsageError(`--credentials-command and --${other} exclude each other`)
  }
  const onFailure = (why: string) => complain(`--credentials-command: ${why}`)
  return commandCredentials(command, { now: Date.now, onFailure })
}

/** Says who can read real credentials, and finds out at once whether there are any. */
function begin({ credentials }: SimulatorOptions, url: string): void {
  if (credentials === undefined) return
  complain(`real credentials are served: whoever can reach ${url} can read them`)
  void credentials.renew()
}

function listenOptions(flags: Flags): NonNullable<SimulatorOptions['listen']> {
  const { socket, host = '127.0.0.1', port = '0' } = flags
  if (socket === undefined) return { host, port: wholeNumber('--port', port, 0, 65_535) }
  if (flags.host !== undefined || flags.port !== undefined) {
    throw new UsageError('--socket excludes --host and --port')
  }
  return { path: socket }
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^[0-9]{1,9}$/.test(text) && value >= min && value <= max) return value
  throw new UsageError(`${flag} takes a whole number from ${min} to ${max}, not '${text}'`)
}

function tagOf(text: string): [string, string] {
  const end = text.indexOf('=')
  if (end < 1) throw new UsageError(`--tag takes KEY=VALUE, not '${text}'`)
  return [text.slice(0, end), text.slice(end + 1)]
}

function requireName(name: string): void {
  if (!isPathName(name)) {
    throw new UsageError(
      `a role or tag takes letters, digits and @:_-.=, in its name, not '${name}'`,
    )
  }
}

function faultOf(json: string): Fault {
  try {
    return parseFault(json)
  } catch (cause) {
    throw new UsageError(`--fault ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

async function readOptional(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  return await readFile(path).catch((error) => {
    throw unusable(path, error)
  })
}

async function start(options: SimulatorOptions): Promise<Simulator> {
  try {
    return await startSimulator(options)
  } catch (error) {
    const reason = systemReason(error)
    if (reason === undefined) throw error
    throw new MetabindError('LISTEN_SIMULATOR', `${placeOf(options)}: ${reason}.`, error)
  }
}

function placeOf({ listen }: SimulatorOptions): string {
  if (listen === undefined) return ''
  return 'path' in listen ? listen.path : `${listen.host}:${listen.port}`
}

function described({ url, instanceId, certificatePem }: Simulator): object {
  return { url, instanceId, certificatePem }
}

function stopSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  process.once('SIGINT', () => resolve())
  process.once('SIGTERM', () => resolve())
  return promise
}
