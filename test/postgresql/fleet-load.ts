import { decodeJwt } from 'jose'
import { expect } from 'vitest'
import { z } from 'zod'
import { CHAIN_ORIGIN, type ChainLine, decodeLine } from '../../src/audit/chain.ts'
import { allInstances } from '../../src/registrar/administration.ts'
import type { Repository } from '../../src/registrar-repository/repository.ts'
import {
  answerTo,
  evidenceFor,
  identityTokenOfSoftware,
  type SoftwareInstance,
  unknownInstance,
} from '../fleet/software-instance.ts'

/** Instances that enrol and exchange identity tokens while something breaks, and what they were answered. */

export const FLEET_RULES = `[admission]
unanchored = "admit"
instance_id = "word"
[[audience]]
name = "sts.example"
algorithm = "ES256"
`
const TOKENS_EACH = 3

export interface FleetLoad {
  /** Instances whose enrolment was acknowledged, by their iids, with the tokens that each was given. */
  readonly enrolled: ReadonlyMap<string, readonly string[]>
  /** All identity tokens that were sent, with how many tokens came for each. */
  readonly sent: ReadonlyMap<string, number>
  /** Refusals by status and code, and requests that were not answered. */
  readonly refusals: ReadonlyMap<string, number>
}

interface Target {
  readonly origin: string
  readonly url: string
}

/**
 * @param workers how many at a time
 * @param instances how many must have enrolled
 * @param onEnrolled called at each
 */
export async function fleetLoad(
  target: Target,
  { workers, instances }: { readonly workers: number; readonly instances: number },
  onEnrolled: (count: number) => Promise<void>,
): Promise<FleetLoad> {
  const enrolled = new Map<string, string[]>()
  const sent = new Map<string, number>()
  const refusals = new Map<string, number>()
  const ask = asking(target.origin, (what) => refusals.set(what, (refusals.get(what) ?? 0) + 1))
  let begun = 0
  const worker = async (): Promise<void> => {
    while (begun < instances) {
      begun += 1
      const instance = unknownInstance(`i-load-${begun}`)
      const given: string[] = []
      enrolled.set(await enrol(instance, target.url, ask), given)
      await onEnrolled(enrolled.size)
      for (let at = 0; at < TOKENS_EACH; at += 1) {
        const subject = identityTokenOfSoftware(instance, target.url)
        // Asked twice, at once and by whichever replica is asked.
        const answers = await Promise.all([ask(exchangeOf(subject)), ask(exchangeOf(subject))])
        const tokens = answers.flatMap(({ access_token: token }) => token ?? [])
        sent.set(subject, tokens.length)
        given.push(...tokens)
      }
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
  return { enrolled, sent, refusals }
}

const answerSchema = z.looseObject({
  nonce: z.string().optional(),
  challenge: z
    .object({ id: z.string(), credentialBlob: z.string(), encryptedSecret: z.string() })
    .loose()
    .optional(),
  iid: z.string().optional(),
  access_token: z.string().optional(),
  error: z.string().optional(),
})
type Answer = z.infer<typeof answerSchema>
type Ask = (request: Request) => Promise<Answer>
interface Request {
  readonly path: string
  readonly body?: object | URLSearchParams
}

/** One request. What was not answered, or with words of the balancer, is an answer without members. */
function asking(origin: string, count: (what: string) => void): Ask {
  return async ({ path, body }) => {
    const isForm = body === undefined || body instanceof URLSearchParams
    const sent = isForm ? body : JSON.stringify(body)
    const headers = isForm ? {} : { 'content-type': 'application/json' }
    const method = body === undefined ? 'GET' : 'POST'
    try {
      const request = { method, headers, ...(sent === undefined ? {} : { body: sent }) }
      const response = await fetch(`${origin}${path}`, request)
      const answer = answerSchema.safeParse(await response.json()).data ?? {}
      const isToWait = response.status === 503 && response.headers.has('retry-after')
      if (!response.ok) count(`${response.status}${isToWait ? '+' : ''} ${answer.error}`)
      return answer
    } catch {
      count('unanswered')
      return {}
    }
  }
}

function exchangeOf(subject: string): Request {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'sts.example',
  })
  return { path: '/token', body }
}

/** Both round trips, as often as it takes. @returns the iid */
async function enrol(instance: SoftwareInstance, url: string, ask: Ask): Promise<string> {
  for (;;) {
    const { nonce } = await ask({ path: '/enrol/nonce' })
    const iid = nonce === undefined ? undefined : await enrolWith(nonce, instance, url, ask)
    if (iid !== undefined) return iid
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function enrolWith(
  nonce: string,
  instance: SoftwareInstance,
  url: string,
  ask: Ask,
): Promise<string | undefined> {
  const evidence = evidenceFor(instance, { nonce, url, generation: 0 })
  const { challenge } = await ask({ path: '/enrol/challenge', body: { evidence, generation: 0 } })
  if (challenge === undefined) return undefined
  const body = { answer: answerTo(instance, challenge) }
  for (;;) {
    const { iid, error } = await ask({ path: '/enrol', body })
    if (iid !== undefined) return iid
    // Only what may have been done without an answer is asked for again.
    if (error !== undefined && !error.startsWith('REGISTRAR_')) return undefined
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Holds what was answered against what is kept: nothing is lost, nothing issued twice, the chain is whole. */
export async function judgeLoad(load: FleetLoad, repository: Repository): Promise<void> {
  const { enrolled, sent } = load
  const given = [...enrolled.values()].flat()
  expect([...sent.values()].filter((tokens) => tokens > 1)).toEqual([])
  expect(new Set(given.map((token) => decodeJwt(token).jti)).size).toBe(given.length)
  const known = new Map<string, string>()
  for await (const { iid, state } of allInstances(repository)) known.set(iid, state)
  for (const [iid, tokens] of enrolled) {
    expect(known.get(iid), iid).toBe('active')
    const [use] = await repository.uses(iid)
    // More were issued only if they were lost on their way; never more than there were identity tokens.
    expect(use?.tokens ?? 0).toBeGreaterThanOrEqual(tokens.length)
    expect(use?.tokens ?? 0).toBeLessThanOrEqual(TOKENS_EACH)
  }
  const lines = await chainOf(repository)
  const events = lines.filter(({ record }) => record.event === 'instance.enrolled')
  expect(events.map(({ record }) => record.iid).toSorted()).toEqual([...known.keys()].toSorted())
}

async function chainOf(repository: Repository): Promise<ChainLine[]> {
  const lines = (await repository.events(0, 100_000)).map((text) => decodeLine(text))
  let head = CHAIN_ORIGIN
  return lines.flatMap((line) => {
    expect(line).toMatchObject({ seq: head.seq + 1, prev: head.hash })
    if (line === undefined) return []
    head = line
    return [line]
  })
}
