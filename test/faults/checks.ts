import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentStatus, metabind } from '../harness/metabind.ts'
import { type Audience, INSTANCE_ID, PATHS } from './audience.ts'
import { CREDENTIALS, type Stage, USERS } from './stage.ts'

/** What must hold after every fault, whatever it was. */

const LONG_TTL_SECONDS = 21_600
const WRITTEN_MS = 2000

/**
 * Waits until the agent is well: ready, tokens are made, and everything is read with them.
 *
 * @returns when it was, by performance.now(); undefined if not within the bound
 */
export async function untilWell(
  stage: Stage,
  audience: Audience,
  boundMs: number,
): Promise<number | undefined> {
  const end = performance.now() + boundMs
  while (performance.now() < end) {
    if (await isWell(stage, audience)) return performance.now()
    await sleep(50)
  }
  return undefined
}

async function isWell(stage: Stage, audience: Audience): Promise<boolean> {
  const token = await audience.token(USERS.app, LONG_TTL_SECONDS)
  if (token === undefined) return false
  for (const path of [INSTANCE_ID, CREDENTIALS]) {
    if ((await audience.read(USERS.app, path, token)).status !== 200) return false
  }
  return (await agentStatus(stage.instance).catch(() => undefined))?.ready === true
}

/** Every token that is held is tried by its owner; what is wrong of them, the audience keeps. */
export async function tryTokens(audience: Audience): Promise<number> {
  const { tokens } = audience.ledger
  for (const token of tokens) await audience.read(token.uid, INSTANCE_ID, token)
  return tokens.length
}

/** Everything that the source has, fresh or kept, for who may have it and who may not. */
export async function tryPaths(audience: Audience): Promise<void> {
  for (const uid of Object.values(USERS)) {
    const token = await audience.token(uid, LONG_TTL_SECONDS)
    for (const path of PATHS) await audience.read(uid, path, token)
  }
}

/** @returns what `metabind audit verify` says against the chain, if anything */
export async function brokenChain(stage: Stage): Promise<string | undefined> {
  const { instance, auditFile } = stage
  const files = auditFiles(auditFile)
  for (let tries = 0; ; tries += 1) {
    const said = await metabind(instance, ['audit', 'verify', ...files])
    if (said.code === 0) return undefined
    // A line may have been read while it was written.
    if (tries === 1) return `the chain of audit records: ${said.stdout}${said.stderr}`.trim()
    await sleep(1000)
  }
}

/** The oldest first: those that were rotated have numbers. */
function auditFiles(auditFile: string): string[] {
  const name = basename(auditFile)
  const numberOf = (file: string) => Number(file.slice(name.length + 1))
  const rotated = readdirSync(dirname(auditFile)).filter((file) => file.startsWith(`${name}.`))
  const files = rotated.sort((one, other) => numberOf(one) - numberOf(other))
  return [...files, name].map((file) => join(dirname(auditFile), file)).filter(existsSync)
}

/** @returns where secrets were found that are not there in health */
export function secretsLeft(stage: Stage, audience: Audience): string[] {
  const { directory } = stage
  const secrets = secretsOf(stage, audience)
  const places = ['run', 'state', 'log'].flatMap((name) => filesIn(join(directory, name)))
  const more = [join(directory, 'agent.log'), ...coreFiles(directory), ...coreFiles(process.cwd())]
  return [...places, ...more].flatMap((file) => {
    if (file === join(directory, 'run/salt')) return []
    const text = readIfThere(file)
    return [...secrets]
      .filter(([, secret]) => text.includes(secret))
      .map(([what]) => `${what} is in ${file.slice(directory.length + 1)}`)
  })
}

/** @returns what killed agents left in the directories of the agent, and not what is being written */
export async function leftovers({ directory }: Stage): Promise<string[]> {
  const unnamed = () =>
    ['run', 'state']
      .flatMap((name) => filesIn(join(directory, name)))
      .filter((file) => file.endsWith('.new'))
  const before = unnamed()
  if (before.length > 0) await sleep(WRITTEN_MS)
  return unnamed()
    .filter((file) => before.includes(file))
    .map((file) => `left over: ${file.slice(directory.length + 1)}`)
}

/** Files come and go: an agent runs. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

function secretsOf(
  { cloud, directory }: Stage,
  { ledger, credentials }: Audience,
): Map<string, string> {
  const secrets = new Map<string, string>()
  for (const [at, { text }] of ledger.tokens.entries()) secrets.set(`token ${at}`, text)
  for (const [at, secret] of credentials().entries()) secrets.set(`credential ${at}`, secret)
  for (const { rawHeaders } of cloud.requests) {
    const name = rawHeaders.findIndex((one) => /metadata-token$/i.test(one))
    const token = rawHeaders[name + 1]
    if (name >= 0 && token !== undefined) secrets.set(`upstream token ${token.slice(0, 4)}`, token)
  }
  const salt = join(directory, 'run/salt')
  if (existsSync(salt)) {
    const bytes = readFileSync(salt)
    for (const encoding of ['hex', 'base64', 'latin1'] as const) {
      secrets.set(`salt in ${encoding}`, bytes.toString(encoding))
    }
  }
  return secrets
}

function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
}

function coreFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => /^core(\.[0-9]+)?$/.test(name))
    .map((name) => join(directory, name))
}
