import { setTimeout as sleep } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { get, openSession } from '../simulate/request.ts'
import { type Answer, type Caller, startCaller } from './caller.ts'
import { type Asked, judge } from './judge.ts'
import { type HeldToken, heldToken, type Ledger, ledger, truthOf } from './ledger.ts'
import { CREDENTIALS, LATEST, type Stage, USERS } from './stage.ts'

/**
 * Callers of three users who ask for everything, all the time, and hold every answer against what is true:
 * with good tokens, with those that have expired or were revoked, with another user's, and with none.
 */

const TTL_HEADER = 'x-aliyun-ecs-metadata-token-ttl-seconds'
const TOKEN_HEADER = 'x-aliyun-ecs-metadata-token'
const TOKEN_PATH = '/latest/api/token'
export const INSTANCE_ID = `${LATEST}/instance-id`
const ABSENT = `${LATEST}/no-such-thing`
export const PATHS = [
  INSTANCE_ID,
  `${LATEST}/hostname`,
  `${LATEST}/zone-id`,
  `${LATEST}/eipv4`,
  CREDENTIALS,
] as const
const PAUSE_MS = 40
const LONG_TTL_SECONDS = 21_600

/** The users, and what they have seen. */
export interface Audience extends AsyncDisposable {
  readonly ledger: Ledger
  /** How often each thing was seen: `right`, the codes of refusals, connections lost. */
  readonly seen: ReadonlyMap<string, number>
  /** What must not have been seen. */
  readonly wrong: readonly string[]
  /** The longest that an answer was waited for. */
  readonly longestMs: number
  /** Takes what the cloud has now for right, too. */
  learn(): Promise<void>
  /** What of the credentials that the cloud gave is secret. */
  credentials(): string[]
  /** Takes this for right, too: it is what the source said. */
  allow(path: string, body: string): void
  /** One read, judged. */
  read(uid: number, path: string, token: HeldToken | undefined): Promise<Answer>
  /** A new token; undefined if none was given. */
  token(uid: number, ttlSeconds: number): Promise<HeldToken | undefined>
  /** Begins to ask all the time. */
  begin(): void
  /** Ends asking, when what is under way was answered. */
  pause(): Promise<void>
}

export async function gather(stage: Stage): Promise<Audience> {
  const values = new Map<string, Set<string>>([...PATHS, ABSENT].map((path) => [path, new Set()]))
  const seen = new Map<string, number>()
  const wrong: string[] = []
  const tokens = ledger()
  const started: Caller[] = []
  let longestMs = 0
  const callerOf = (uid: number): Caller => {
    const caller = startCaller(uid, stage.instance.metadataSocket)
    started.push(caller)
    return caller
  }
  const probes = new Map(Object.values(USERS).map((uid) => [uid as number, callerOf(uid)]))

  const note = (asked: Asked, answer: Answer): void => {
    const judged = judge(asked, answer)
    seen.set(judged.as, (seen.get(judged.as) ?? 0) + 1)
    if (judged.wrong !== undefined) wrong.push(judged.wrong)
  }
  const readBy = async (
    caller: Caller,
    path: string,
    token: HeldToken | undefined,
  ): Promise<Answer> => {
    const sentAtMs = bootTimeMs()
    const headers = token === undefined ? {} : { [TOKEN_HEADER]: token.text }
    const answer = await caller.ask({ method: 'GET', path, headers })
    const answeredAtMs = bootTimeMs()
    longestMs = Math.max(longestMs, answeredAtMs - sentAtMs)
    note(
      {
        what: token !== undefined && token.uid !== caller.uid ? 'foreign' : 'read',
        path,
        token: token && truthOf(token, sentAtMs, answeredAtMs),
        permitted: path !== CREDENTIALS || caller.uid === USERS.app,
        there: path !== ABSENT,
        values: values.get(path) ?? new Set(),
      },
      answer,
    )
    return answer
  }
  const tokenBy = async (caller: Caller, ttlSeconds: number): Promise<HeldToken | undefined> => {
    const askedAtMs = bootTimeMs()
    const headers = { [TTL_HEADER]: String(ttlSeconds) }
    const answer = await caller.ask({ method: 'PUT', path: TOKEN_PATH, headers })
    longestMs = Math.max(longestMs, bootTimeMs() - askedAtMs)
    note({ ...NO_READ, what: 'token', path: TOKEN_PATH }, answer)
    if (answer.status !== 200) return undefined
    const held = heldToken(caller.uid, answer.body, ttlSeconds, askedAtMs)
    tokens.add(held)
    return held
  }

  let isAsking = false
  let asking: Promise<unknown> = Promise.resolve()
  const crowd = Object.values(USERS).map(callerOf)
  const ask = async (caller: Caller): Promise<void> => {
    for (let turn = 0; isAsking; turn += 1) {
      const own = tokens.tokens.filter(({ uid }) => uid === caller.uid)
      const foreign = tokens.tokens.filter(({ uid }) => uid !== caller.uid)
      if (turn % 12 === 0) await tokenBy(caller, turn % 24 === 0 ? 1 : LONG_TTL_SECONDS)
      else if (turn % 12 === 4) await readBy(caller, INSTANCE_ID, undefined)
      else if (turn % 12 === 6) await readBy(caller, ABSENT, any(own))
      else if (turn % 12 === 8) await readBy(caller, INSTANCE_ID, any(foreign))
      else await readBy(caller, any(PATHS) ?? INSTANCE_ID, any(own))
      await sleep(PAUSE_MS)
    }
  }
  const learn = async (): Promise<void> => {
    const { url } = stage.cloud
    const token = await openSession(url)
    for (const path of PATHS) {
      values.get(path)?.add((await get(url, path, token)).body)
    }
  }
  const probe = (uid: number): Caller => {
    const caller = probes.get(uid)
    if (caller === undefined) throw new Error(`nobody is ${uid}`)
    return caller
  }
  await learn()
  return {
    ledger: tokens,
    seen,
    wrong,
    get longestMs() {
      return longestMs
    },
    learn,
    credentials: () => [...(values.get(CREDENTIALS) ?? [])].flatMap(secretsIn),
    allow: (path, body) => void values.get(path)?.add(body),
    read: (uid, path, token) => readBy(probe(uid), path, token),
    token: (uid, ttlSeconds) => tokenBy(probe(uid), ttlSeconds),
    begin: () => {
      isAsking = true
      asking = Promise.all(crowd.map(ask))
    },
    pause: async () => {
      isAsking = false
      await asking
    },
    [Symbol.asyncDispose]: async () => {
      isAsking = false
      await Promise.all(started.map((caller) => caller.end()))
      await asking
    },
  }
}

const NO_READ: Omit<Asked, 'what' | 'path'> = {
  token: undefined,
  permitted: true,
  there: true,
  values: new Set(),
}

function secretsIn(credentials: string): string[] {
  const { AccessKeySecret, SecurityToken } = JSON.parse(credentials)
  return [AccessKeySecret, SecurityToken]
}

function any<Of>(of: readonly Of[]): Of | undefined {
  return of[Math.floor(Math.random() * of.length)]
}
