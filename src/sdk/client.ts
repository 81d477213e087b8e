import type { AgentAnswer, Sockets } from '../agent-socket.ts'
import { type MadeToken, makeTokenOf, postMetadata, readMetadata } from '../client.ts'
import {
  credentialsPath,
  LENIENT,
  parseRoleCredentials,
  type RoleCredentials,
} from '../dialect/role-credentials.ts'
import { ERRORS } from '../error-table.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import type { DialectName } from '../format/dialect-name.ts'
import { Secret } from '../secret.ts'
import { TTL_SECONDS_MAX } from '../token/claims.ts'
import type { DpopAsked, WptAsked } from './proof-body.ts'
import { wholePath } from './whole-path.ts'

/**
 * The package export `metabind/client`: instance metadata for a Node application, over the agent's
 * Unix socket. One client can be shared by the whole process.
 */

export { type ErrorCode, MetabindError } from '../errors.ts'
export type { Secret } from '../secret.ts'
export type { DpopAsked, WptAsked } from './proof-body.ts'

/** Where the agent is, and how long this client's session tokens live. */
export interface ClientOptions {
  /** Absolute path of the metadata socket; the installed place if absent. */
  readonly socket?: string
  /** Lifetime of a session token in seconds, 1 to 21600; one token serves many reads. */
  readonly ttlSeconds?: number
}

/** Credentials of a role, and whose they are. */
export interface RamCredentials extends RoleCredentials {
  readonly role: string
  /** The cloud that takes them. */
  readonly dialect: DialectName
}

/** How a value is watched. */
export interface WatchOptions {
  /**
   * Milliseconds from one look to the next, 1 to 2^31 - 1; 30,000 if absent. The agent answers from
   * its cache.
   */
  readonly everyMs?: number
  /** Ends the watching. */
  readonly signal?: AbortSignal
}

/** Reads metadata as the user of this process. Every failure is a MetabindError with a `code`. */
export interface Client {
  /** The session token in use, a new one if that is about to end. */
  token(): Promise<Secret<string>>
  /** @param path absolute (`/latest/user-data`), or short (`instance-id`, `user-data`) */
  get(path: string): Promise<Buffer>
  /** The cloud whose words the agent speaks. */
  dialect(): Promise<DialectName>
  /** The name of the instance's role. */
  role(): Promise<string>
  /** @param role the role; the instance's own if absent */
  credentials(role?: string): Promise<RamCredentials>
  /** A proof for one request that it comes from this instance: the value of the header DPoP, or Workload-Proof-Token. */
  proof(asked: DpopAsked | WptAsked): Promise<Secret<string>>
  /**
   * The value at `path` now, and again whenever it has changed; undefined while there is none. Waits
   * out an agent or a source that is down; other failures end it. Its first step throws a RangeError
   * if `everyMs` is out of bounds.
   */
  watch(path: string, options?: WatchOptions): AsyncGenerator<Buffer | undefined, void>
}

const SOCKET = '/run/metabind/metadata.sock'
const ADMIN_SOCKET = '/run/metabind/admin.sock'
const PROOF_PATH = '/metabind/v1/proof'
const WATCH_MS = 30_000
// Timers take everything else, NaN among it, for one millisecond.
const TIMER_MS_MAX = 2 ** 31 - 1
// A token is replaced when a tenth of its life is left.
const RENEW_AFTER = 0.9
const PASSING: readonly ErrorCode[] = [
  'SOCKET_ABSENT',
  'SOCKET_BROKEN',
  'SOURCE_DOWN',
  'AGENT_NOT_READY',
]

interface HeldToken extends MadeToken {
  /** On the clock of nowMs. It stops in a suspend; the 401 after it renews the token. */
  readonly renewAtMs: number
}

export function openClient(options: ClientOptions = {}): Client {
  const sockets: Sockets = { metadata: options.socket ?? SOCKET, admin: ADMIN_SOCKET }
  const tokens = tokenHolder(sockets, options.ttlSeconds ?? TTL_SECONDS_MAX)

  const withToken = async (
    ask: (token: Secret<string>) => Promise<AgentAnswer>,
  ): Promise<Buffer> => {
    const used = await tokens.current()
    try {
      return (await ask(used.text)).body
    } catch (error) {
      if (!isRefusedToken(error)) throw error
      // Revoked, or of before a reboot. Once: a token that is refused when new stays refused.
      tokens.drop(used)
      return (await ask((await tokens.current()).text)).body
    }
  }
  const get = (path: string): Promise<Buffer> =>
    withToken((token) => readMetadata(sockets, wholePath(path), token))
  const words = async () => (await tokens.current()).dialect
  const role = async () => firstLine(await get((await words()).rolesPath))
  return {
    token: async () => (await tokens.current()).text,
    get,
    dialect: async () => (await words()).name,
    role,
    credentials: async (named) => {
      const name = named ?? (await role())
      const dialect = await words()
      const body = await get(credentialsPath(name, dialect))
      const credentials = parseRoleCredentials(body, dialect, LENIENT)
      return { role: name, dialect: dialect.name, ...credentials }
    },
    proof: async (asked) => {
      // Most applications ask for none, and need no hashes.
      const { proofBody } = await import('./proof-body.ts')
      const body = proofBody(asked)
      const made = await withToken((token) => postMetadata(sockets, PROOF_PATH, token, body))
      return new Secret(made.toString('latin1'))
    },
    watch: (path, how) => watch(get, path, how),
  }
}

interface TokenHolder {
  current(): Promise<HeldToken>
  drop(used: HeldToken): void
}

/** Holds one token and makes the next, one request at a time however many callers wait. */
function tokenHolder(sockets: Sockets, ttlSeconds: number): TokenHolder {
  let held: HeldToken | undefined
  let making: Promise<HeldToken> | undefined
  const make = async (): Promise<HeldToken> => {
    const renewAtMs = nowMs() + ttlSeconds * 1000 * RENEW_AFTER
    return { ...(await makeTokenOf(sockets, String(ttlSeconds))), renewAtMs }
  }
  return {
    current: async () => {
      if (held === undefined || nowMs() >= held.renewAtMs) {
        making ??= make().finally(() => {
          making = undefined
        })
        held = await making
      }
      return held
    },
    drop: (used) => {
      if (held === used) held = undefined
    },
  }
}

async function* watch(
  get: (path: string) => Promise<Buffer>,
  path: string,
  { everyMs = WATCH_MS, signal }: WatchOptions = {},
): AsyncGenerator<Buffer | undefined, void> {
  const isWait = everyMs >= 1 && everyMs <= TIMER_MS_MAX
  if (!isWait) throw new RangeError(`everyMs is 1 to ${TIMER_MS_MAX}`)
  let last: { readonly value: Buffer | undefined } | undefined
  while (!signal?.aborted) {
    const seen = await look(get, path)
    if (seen !== undefined && (last === undefined || !isSame(seen.value, last.value))) {
      last = seen
      yield seen.value
    }
    await sleepUnless(signal, everyMs)
  }
}

/** The value, which may be none; undefined if there is no telling now. */
async function look(
  get: (path: string) => Promise<Buffer>,
  path: string,
): Promise<{ readonly value: Buffer | undefined } | undefined> {
  try {
    return { value: await get(path) }
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    if (error.code === 'METADATA_ABSENT') return { value: undefined }
    if (PASSING.includes(error.code)) return undefined
    throw error
  }
}

async function sleepUnless(signal: AbortSignal | undefined, ms: number): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises')
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}

function isSame(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other)
}

function isRefusedToken(error: unknown): boolean {
  return error instanceof MetabindError && ERRORS[error.code].status === 401
}

function firstLine(listing: Buffer): string {
  return listing.toString('utf8').split('\n', 1)[0]?.trim() ?? ''
}

/** Monotonic. Node loads a dozen modules for `performance`, in a process that asks once. */
function nowMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}
