import { readFile } from 'node:fs/promises'
import { MetabindError, UsageError } from '../errors.ts'
import { DIALECT_NAMES } from '../format/dialect-name.ts'
import type { Cloud } from '../simulate/cloud.ts'
import { CLOUDS } from '../simulate/clouds.ts'
import { type Fault, parseFault } from '../simulate/faults.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../simulate/simulator.ts'
import { writeFile } from './files.ts'
import { parseVerb } from './options.ts'
import { print, printJson } from './output.ts'
import type { Verb } from './verb.ts'

const DEFAULT_ROLE = 'EcsRamRole'

const HELP = `Usage: metabind simulate [OPTIONS]

An ECS instance metadata server for development and tests. It needs no TPM and no cloud; every
value and credential it hands out is made up. It prints where it listens and runs until SIGINT or
SIGTERM.

  --cloud aliyun|ec2             whose service it plays (default aliyun)
  --port N                       TCP port; 0 takes a free one (default 0)
  --host ADDRESS                 address to listen on (default 127.0.0.1)
  --socket PATH                  listen on a Unix socket instead
  --instance-id ID               the instance that it plays (default: a random one)
  --region ID                    its region (default cn-hangzhou, or eu-central-1)
  --role NAME                    its RAM role (default ${DEFAULT_ROLE})
  --no-role                      it has no RAM role
  --tag KEY=VALUE                an instance tag; can be repeated
  --tokens required|optional     are reads without a token refused (default required)
  --user-data FILE               its user data (default: none, 404)
  --vendor-data FILE             its vendor data (default: none, 404)
  --credential-lifetime SECONDS  how long RAM credentials live (default 21600)
  --fault JSON                   something that goes wrong, see docs/simulate.md; can be repeated
  --control                      serve /_simulator/: faults, requests, rotate, certificate
  --certificate-out FILE         write the certificate of the key that signs PKCS7 answers
  --json                         print one JSON object instead of "listening on URL"
  --help                         print this text
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
    await using simulator = await start(await simulatorOptions(flags))
    for (const fault of faults) simulator.faults.set(fault)
    const { 'certificate-out': certificateOut } = flags
    if (certificateOut !== undefined) writeFile(certificateOut, simulator.certificatePem)
    // Before the line: whoever reads it may send the signal at once.
    const stopped = stopSignal()
    if (flags.json) printJson(described(simulator))
    else print(`listening on ${simulator.url}\n`)
    await stopped
    return 0
  },
}

async function simulatorOptions(flags: Flags): Promise<SimulatorOptions> {
  const { role = DEFAULT_ROLE, 'no-role': noRole = false } = flags
  if (noRole && flags.role !== undefined)
    throw new UsageError('--role and --no-role exclude each other')
  const lifetime = flags['credential-lifetime'] ?? '21600'
  return {
    cloud: cloudNamed(flags.cloud ?? 'aliyun'),
    listen: listenOptions(flags),
    instanceId: flags['instance-id'],
    regionId: flags.region,
    role: noRole ? undefined : role,
    tags: Object.fromEntries((flags.tag ?? []).map(tagOf)),
    tokens: tokenMode(flags.tokens ?? 'required'),
    userData: await readOptional(flags['user-data']),
    vendorData: await readOptional(flags['vendor-data']),
    credentialLifetimeSeconds: wholeNumber('--credential-lifetime', lifetime, 1, 43_200),
    control: flags.control ?? false,
  }
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
  if (/^[0-9]+$/.test(text) && value >= min && value <= max) return value
  throw new UsageError(`${flag} wants a whole number from ${min} to ${max}, not "${text}"`)
}

function tokenMode(text: string): 'required' | 'optional' {
  if (text === 'required' || text === 'optional') return text
  throw new UsageError(`--tokens is required or optional, not "${text}"`)
}

function cloudNamed(text: string): Cloud {
  const name = DIALECT_NAMES.find((one) => one === text)
  if (name !== undefined) return CLOUDS[name]
  throw new UsageError(`--cloud is ${DIALECT_NAMES.join(' or ')}, not "${text}"`)
}

function tagOf(text: string): [string, string] {
  const end = text.indexOf('=')
  if (end < 1) throw new UsageError(`--tag wants KEY=VALUE, not "${text}"`)
  return [text.slice(0, end), text.slice(end + 1)]
}

function faultOf(json: string): Fault {
  try {
    return parseFault(json)
  } catch (cause) {
    throw usageError(cause)
  }
}

async function readOptional(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  return await readFile(path).catch(fileError)
}

async function start(options: SimulatorOptions): Promise<Simulator> {
  try {
    return await startSimulator(options)
  } catch (cause) {
    // The one other thing that can fail is a role or tag that is no path name.
    const isSystemError = cause instanceof Error && 'syscall' in cause
    throw isSystemError
      ? new MetabindError('LISTEN_FAILED', cause.message, cause)
      : usageError(cause)
  }
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

function fileError(cause: Error): never {
  throw new MetabindError('FILE_UNUSABLE', cause.message, cause)
}

function usageError(cause: unknown): UsageError {
  return new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
}
