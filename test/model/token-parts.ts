import { createHmac } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Caller } from '../../src/caller/caller.ts'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import type { RootValues } from '../../src/identity/tpm.ts'
import { type Binding, type TokenAuthority, tokenAuthority } from '../../src/token/authority.ts'
import type { DeriveRoots } from '../../src/token/derive-key.ts'
import { type BoundKeys, boundKeys } from '../../src/token/keys.ts'
import { FIRST_GENERATION, loadRevocations } from '../../src/token/revocations.ts'
import { loadSalt } from '../../src/token/salt.ts'

/** A TPM as token keys see it: two values for each message, one of its own and one of its boot. */
export interface Roots {
  /** The Name of its RK, which goes into the identity. */
  readonly name: Buffer
  derive(messages: readonly Buffer[]): Promise<RootValues[]>
  /** Another boot: other values of the boot. */
  reset(): Promise<void>
}

/** In memory: thousands of steps a second. */
export function rootsInMemory(secret: string): Roots {
  let boot = 0
  const under = (key: string, message: Buffer) => createHmac('sha256', key).update(message).digest()
  return {
    name: Buffer.from(secret),
    derive: async (messages) =>
      messages.map((message) => ({
        fromRoot: under(secret, message),
        fromBoot: under(`${secret} ${boot}`, message),
      })),
    reset: async () => {
      boot += 1
    },
  }
}

/** Everything that a session token's life depends on, with the clock, the TPM's answers and the files in hand. */
export interface TokenParts {
  readonly clock: { ms: number }
  readonly keys: BoundKeys
  readonly tokens: TokenAuthority
  /** Tokens of another instance with these files, in a boot of the same id. */
  elsewhere(): Promise<TokenAuthority>
  /** As the file says that it is. */
  generation(): string
  /** What the token keys wait for of the TPM, in the order of asking. */
  readonly waiting: readonly Waiting[]
  /** Another process. Keys that it has to have are derived at once. */
  restart(): Promise<void>
  reboot(files: 'lost' | 'kept'): Promise<void>
  /** What a write meets when the directory is gone. */
  withoutDirectory<T>(doing: () => T): T
  end(): void
}

interface Waiting {
  /** Answers, or fails with a code; nothing waits for it any more then. */
  answer(failure?: ErrorCode): Promise<void>
}

// A file system in memory, as the runtime directory is on one: to write through to a disk takes a hundred times longer.
const DIRECTORY = existsSync('/dev/shm') ? '/dev/shm' : '/tmp'

/** @param binds what the next token is bound to */
export async function tokenParts(
  roots: Roots,
  binds: () => readonly Binding[],
): Promise<TokenParts> {
  const directory = mkdtempSync(`${DIRECTORY}/mb-model-`)
  const clock = { ms: 0 }
  const bootTimeMs = () => clock.ms
  let boots = 1
  let waiting: Waiting[] = []
  const later: DeriveRoots = (messages) =>
    new Promise((resolve, reject) => {
      const one: Waiting = {
        answer: async (failure) => {
          waiting = waiting.filter((other) => other !== one)
          if (failure === undefined) resolve(await roots.derive(messages))
          else reject(new MetabindError(failure))
        },
      }
      waiting.push(one)
    })
  const bound = (rkName: Buffer, derive: DeriveRoots): BoundKeys => {
    const names = { ekName: Buffer.from('ek'), akName: Buffer.from('ak'), rkName }
    return boundKeys({
      identity: { dialect: 'aliyun', instanceId: 'i-model', ...names },
      bootId: `boot ${boots}`,
      salt: loadSalt(directory),
      revocations: loadRevocations(directory, bootTimeMs),
      derive,
      bootTimeMs,
    })
  }
  const process = async () => {
    waiting = []
    let isStarting = true
    const keys = bound(roots.name, (messages) =>
      isStarting ? roots.derive(messages) : later(messages),
    )
    await keys.refresh()
    isStarting = false
    return { keys, tokens: tokenAuthority(keys, bootTimeMs, binds) }
  }
  let current = await process()
  return {
    clock,
    get keys() {
      return current.keys
    },
    get tokens() {
      return current.tokens
    },
    elsewhere: async () => {
      const other = rootsInMemory('another TPM')
      const keys = bound(other.name, other.derive)
      await keys.refresh()
      return tokenAuthority(keys, bootTimeMs, binds)
    },
    get waiting() {
      return waiting
    },
    generation: () => {
      const file = join(directory, 'revocations')
      return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).generation : FIRST_GENERATION
    },
    restart: async () => {
      current = await process()
    },
    reboot: async (files) => {
      await roots.reset()
      clock.ms = 0
      boots += 1
      if (files === 'lost')
        for (const name of ['salt', 'revocations']) rmSync(join(directory, name), { force: true })
      current = await process()
    },
    withoutDirectory: (doing) => {
      renameSync(directory, `${directory}.away`)
      try {
        return doing()
      } finally {
        renameSync(`${directory}.away`, directory)
      }
    },
    end: () => rmSync(directory, { recursive: true }),
  }
}

/** What a call says: its code if it is refused. */
export function codeOf(said: string, call: () => unknown): string {
  try {
    call()
    return said
  } catch (error) {
    if (error instanceof MetabindError) return error.code
    throw error
  }
}

export function callerOf(uid: number, unit: string): Caller {
  return { pid: 4711, uid, gid: uid, groups: [], namespaces: [], unit }
}
