import { randomBytes, randomInt } from 'node:crypto'
import { Agent, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * One user of ./dev soak, in a process of its own: asks an agent all kinds of things at a steady rate, knows what each
 * must be answered with, and tells its parent every few seconds what it saw. Imports nothing of the project, as it runs
 * from a copy that every user can read.
 */

/** What the parent gives it, as its one argument. */
export interface UserOrder {
  readonly socket: string
  readonly instanceId: string
  readonly rolePath: string
  readonly mayReadRole: boolean
  readonly ttlSecondsMax: number
  /** Between two requests. */
  readonly pauseMs: number
}

/** What it tells, and then forgets. */
export interface UserReport {
  readonly kind: 'report'
  /** Milliseconds of each answer, by what was asked. */
  readonly latencies: Readonly<Record<string, readonly number[]>>
  /** Statuses, or codes of socket errors, by what was asked. */
  readonly outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** Answers that must not be. */
  readonly wrong: readonly string[]
}

interface Outcome {
  /** A status, or the code of a socket error. */
  readonly what: number | string
  readonly body: string
}

interface Held {
  readonly token: string
  /** Of performance.now(): not before, and not after. */
  readonly endsFromMs: number
  readonly endsUntilMs: number
}

const TTL_HEADER = 'x-aliyun-ecs-metadata-token-ttl-seconds'
const TOKEN_HEADER = 'x-aliyun-ecs-metadata-token'
const TOKEN_PATH = '/latest/api/token'
const READ_PATHS = [
  'instance-id',
  'region-id',
  'zone-id',
  'hostname',
  'mac',
  'image-id',
  'private-ipv4',
]
const REPORT_MS = 5000
const ANSWER_MS_MAX = 60_000
const DEAD_MAX = 64
const WRONG_MAX = 20
const DOCUMENT = '/latest/dynamic/instance-identity/document'

const order = JSON.parse(process.argv[2] ?? '{}') as UserOrder
const kept = new Agent({ keepAlive: true, maxSockets: 1 })
let latencies: Record<string, number[]> = {}
let outcomes: Record<string, Record<string, number>> = {}
let wrong: string[] = []
/** Tokens that have ended, by revocation or time: no agent may ever take one again. */
const dead: { readonly token: string; readonly why: string }[] = []
let held: Held | undefined
let paused: Promise<void> | undefined
let resume = () => {}
let revoked = (_token: string) => {}

function ask(
  name: string,
  method: string,
  path: string,
  headers: Record<string, string>,
  isNew = false,
) {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const { socket: socketPath } = order
  const askedAtMs = performance.now()
  const agent = isNew ? false : kept
  const sent = request(
    { socketPath, method, path, headers, agent, timeout: ANSWER_MS_MAX },
    (answer) => {
      buffer(answer).then(
        (bytes) => resolve({ what: answer.statusCode ?? 0, body: bytes.toString() }),
        (error: Error) => resolve({ what: codeOf(error), body: '' }),
      )
    },
  )
  sent.on('timeout', () => sent.destroy(new Error('no answer')))
  sent.on('error', (error) => resolve({ what: codeOf(error), body: '' }))
  sent.end()
  return promise.then((outcome) => {
    latencies[name] ??= []
    latencies[name].push(Math.round((performance.now() - askedAtMs) * 1000) / 1000)
    outcomes[name] ??= {}
    outcomes[name][outcome.what] = (outcomes[name][outcome.what] ?? 0) + 1
    return outcome
  })
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.message
}

/** Socket errors are counted and judged by the parent, who knows when an agent was killed. */
function expect(
  name: string,
  outcome: Outcome,
  statuses: readonly number[],
  fits = (_body: string) => true,
) {
  if (typeof outcome.what === 'string') return
  if (statuses.includes(outcome.what) && (outcome.what !== 200 || fits(outcome.body))) return
  const at = new Date().toISOString()
  if (wrong.length < WRONG_MAX)
    wrong.push(`${at} ${name}: ${outcome.what} ${outcome.body.slice(0, 200)}`)
}

const withToken = (token: string) => ({ [TOKEN_HEADER]: token })

/** A token that is good now. */
async function token(): Promise<string | undefined> {
  const now = performance.now()
  if (held !== undefined && now < held.endsFromMs - 2000) return held.token
  if (held !== undefined) void buryLater(held)
  held = await mint('mint', randomInt(20, order.ttlSecondsMax + 1))
  return held?.token
}

async function mint(name: string, ttlSeconds: number): Promise<Held | undefined> {
  const askedAtMs = performance.now()
  const outcome = await ask(
    name,
    'PUT',
    TOKEN_PATH,
    { [TTL_HEADER]: String(ttlSeconds) },
    name === 'mint new',
  )
  expect(name, outcome, [200], (body) => /^[\w-]{86}$/.test(body))
  if (outcome.what !== 200) return undefined
  const endsFromMs = askedAtMs + ttlSeconds * 1000
  return { token: outcome.body, endsFromMs, endsUntilMs: performance.now() + ttlSeconds * 1000 }
}

async function buryLater({ token: text, endsUntilMs }: Held) {
  await sleep(Math.max(0, endsUntilMs - performance.now()) + 50)
  bury(text, 'expired')
}

function bury(text: string, why: string) {
  dead.push({ token: text, why })
  if (dead.length > DEAD_MAX) dead.splice(randomInt(DEAD_MAX), 1)
}

const read = (path: string) => `/latest/meta-data/${path}`

/** What users do, with how often of a hundred times. */
const ACTIONS: readonly (readonly [times: number, act: (token: string) => Promise<void>])[] = [
  [
    48,
    async (text) => {
      const outcome = await ask('read', 'GET', read('instance-id'), withToken(text))
      expect('read', outcome, [200], (body) => body === order.instanceId)
    },
  ],
  [
    12,
    async (text) => {
      const path = READ_PATHS[randomInt(READ_PATHS.length)] ?? ''
      const outcome = await ask('read new', 'GET', read(path), withToken(text), true)
      expect(`read new ${path}`, outcome, [200], (body) => body.length > 0)
    },
  ],
  [
    10,
    async (text) => {
      const outcome = await ask('role', 'GET', order.rolePath, withToken(text))
      // Those that have ended must not be handed out; the answer was true when it was sent.
      const isGood = (body: string) => Date.parse(JSON.parse(body).Expiration) > Date.now() - 5000
      expect('role', outcome, [order.mayReadRole ? 200 : 403], isGood)
    },
  ],
  [6, async () => void (await mint('mint new', randomInt(1, order.ttlSecondsMax + 1)))],
  [4, async () => expect('no token', await ask('no token', 'GET', read('instance-id'), {}), [403])],
  [
    3,
    async () => {
      const noise = randomBytes(64).toString('base64url')
      expect('noise', await ask('noise', 'GET', read('instance-id'), withToken(noise)), [401])
    },
  ],
  [
    3,
    async (text) => {
      const headers = { ...withToken(text), 'x-forwarded-for': '10.0.0.1' }
      expect('forwarded', await ask('forwarded', 'GET', read('mac'), headers), [403])
    },
  ],
  [
    3,
    async (text) => {
      const path = read(`absent-${randomInt(100_000)}`)
      // More than it may ask the source for is refused.
      expect('absent', await ask('absent', 'GET', path, withToken(text)), [404, 429])
    },
  ],
  [
    2,
    async (text) => {
      const path = `/latest/dynamic/instance-identity/pkcs7?audience=${randomInt(1000)}`
      expect('document', await ask('document', 'GET', path, withToken(text)), [
        order.mayReadRole ? 200 : 403,
        429,
      ])
    },
  ],
  [
    4,
    async () => {
      const ended = dead[randomInt(Math.max(1, dead.length))]
      if (ended === undefined) return
      const outcome = await ask(ended.why, 'GET', read('instance-id'), withToken(ended.token))
      expect(ended.why, outcome, [401])
    },
  ],
  [
    1,
    async (text) => {
      const path = `/metabind/v1/identity?audience=https%3A%2F%2Fsoak${randomInt(10)}.example`
      const outcome = await ask('identity', 'GET', path, withToken(text))
      expect('identity', outcome, order.mayReadRole ? [200, 503] : [403], isIdentityToken)
    },
  ],
  [
    1,
    async () => {
      const made = await mint('mint', order.ttlSecondsMax)
      if (made === undefined) return
      const { promise, resolve } = Promise.withResolvers<string>()
      revoked = resolve
      process.send?.({ kind: 'revoke', token: made.token })
      if ((await promise) !== made.token) return
      bury(made.token, 'revoked')
      const outcome = await ask('revoked', 'GET', read('instance-id'), withToken(made.token))
      expect('revoked', outcome, [401])
    },
  ],
  [
    3,
    async (text) =>
      expect('document 2', await ask('document 2', 'GET', DOCUMENT, withToken(text)), [200, 429]),
  ],
]

function isIdentityToken(body: string): boolean {
  const [, claims = ''] = body.split('.')
  const { aud, exp } = JSON.parse(Buffer.from(claims, 'base64url').toString())
  return String(aud).startsWith('https://soak') && exp * 1000 > Date.now()
}

async function act(): Promise<void> {
  const text = await token()
  if (text === undefined) return
  let left = randomInt(100)
  const chosen = ACTIONS.find(([times]) => {
    left -= times
    return left < 0
  })
  await chosen?.[1](text)
}

process.on('message', (message: { kind: string; token?: string }) => {
  if (message.kind === 'revoked') revoked(message.token ?? '')
  if (message.kind === 'hold') {
    const { promise, resolve } = Promise.withResolvers<void>()
    paused = promise
    resume = resolve
  }
  if (message.kind === 'all revoked' && held !== undefined) {
    bury(held.token, 'revoked')
    held = undefined
  }
  if (message.kind === 'go') {
    paused = undefined
    resume()
  }
})
process.on('disconnect', () => process.exit(0))

setInterval(() => {
  process.send?.({ kind: 'report', latencies, outcomes, wrong } satisfies UserReport)
  latencies = {}
  outcomes = {}
  wrong = []
}, REPORT_MS)

for (;;) {
  if (paused !== undefined) {
    process.send?.({ kind: 'held' })
    await paused
  }
  try {
    await act()
  } catch (error) {
    if (wrong.length < WRONG_MAX) wrong.push(String(error))
  }
  await sleep(order.pauseMs * (0.5 + Math.random()))
}
