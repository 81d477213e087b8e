import { setTimeout as pause } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import {
  answerTo,
  type ChallengeJson,
  evidenceFor,
  identityTokenOfSoftware,
  type SoftwareInstance,
} from '../../test/fleet/software-instance.ts'

/** An instance as the registrar sees one: what it asks, and how it waits before it asks again. */
export interface FleetClient {
  readonly instance: SoftwareInstance
  readonly number: number
  /** Where it seems to come from, through the proxy before the registrar. */
  readonly address: string
  /** Of its last enrolment. */
  generation: number
}

export interface Registrar {
  readonly url: string
  readonly dispatcher: Pick<Dispatcher, 'request'>
  readonly origin: string
}

/** Why an instance has to ask again: the status of the answer, or the code of the connection's end. */
export class Refusal extends Error {
  readonly why: string
  readonly retryAfterSeconds: number

  constructor(why: string, retryAfterSeconds = 0) {
    super(why)
    this.why = why
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export const AUDIENCES = { RS256: 'rs.example', ES256: 'es.example' } as const

/** Both round trips, and the nonce before them. */
export async function enrolClient(registrar: Registrar, client: FleetClient): Promise<void> {
  const { instance, generation } = client
  const { nonce } = await ask(registrar, client, 'GET', '/enrol/nonce')
  const bound = { nonce: String(nonce), url: registrar.url, generation }
  const evidence = JSON.stringify({ evidence: evidenceFor(instance, bound), generation })
  const { challenge } = await ask(registrar, client, 'POST', '/enrol/challenge', evidence)
  const answer = answerTo(instance, challenge as ChallengeJson)
  const reply = await ask(registrar, client, 'POST', '/enrol', JSON.stringify({ answer }))
  if (reply.state !== 'active') throw new Error(`enrolled as ${reply.state}`)
  client.generation = Number(reply.generation)
}

export async function exchangeToken(
  registrar: Registrar,
  client: FleetClient,
  audience: string,
): Promise<void> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: identityTokenOfSoftware(client.instance, registrar.url),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience,
  })
  const reply = await ask(registrar, client, 'POST', '/token', form.toString(), FORM)
  if (typeof reply.access_token !== 'string') throw new Error('no token')
}

const FORM = 'application/x-www-form-urlencoded'
const PASSES: ReadonlySet<number> = new Set([408, 429, 503])

async function ask(
  { dispatcher, origin }: Registrar,
  { address }: FleetClient,
  method: 'GET' | 'POST',
  path: string,
  body: string | null = null,
  type = 'application/json',
): Promise<Readonly<Record<string, unknown>>> {
  const headers = { 'x-forwarded-for': address, ...(body === null ? {} : { 'content-type': type }) }
  const answered = await dispatcher
    .request({ origin, path, method, headers, body })
    .catch((error: { code?: string }) => {
      throw new Refusal(error.code ?? String(error))
    })
  const text = await answered.body.text().catch(() => {
    throw new Refusal('half an answer')
  })
  const { statusCode } = answered
  if (PASSES.has(statusCode)) {
    throw new Refusal(String(statusCode), Number(answered.headers['retry-after'] ?? 0))
  }
  if (statusCode !== 200) throw new Error(`${path}: ${statusCode}: ${text}`)
  return JSON.parse(text) as Readonly<Record<string, unknown>>
}

const FIRST_WAIT_MS = 1000
const WAIT_MS_MAX = 60_000

/**
 * Does it until it is done: after a refusal that passes, again after a random part of a time that doubles, and never
 * before the registrar said.
 */
export async function persistently(
  act: () => Promise<void>,
  onRefusal: (refusal: Refusal) => void,
): Promise<void> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(WAIT_MS_MAX, waitMs * 2)) {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      onRefusal(error)
      await pause(error.retryAfterSeconds * 1000 + waitMs * Math.random())
    }
  }
}
