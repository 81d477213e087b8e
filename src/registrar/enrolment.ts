import { createHash } from 'node:crypto'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import {
  type Answer,
  decodeKeptSecret,
  encodeChallenge,
  encodeKeptSecret,
} from '../format/activation.ts'
import { TLS_EXPORTER } from '../format/enrolment-bind.ts'
import { evidenceOfJson } from '../format/evidence.ts'
import type { MasterKey } from '../registrar-keys/master-key.ts'
import { type EnrolledInstance, subjectOf } from '../registrar-repository/enrolled-instance.ts'
import type { PendingEnrolment, Repository } from '../registrar-repository/repository.ts'
import { finishChallenge } from '../verify/challenge.ts'
import {
  type AdmissionRules,
  admitIfAnswered,
  admittedSchema,
  type VouchedAk,
  vouchedAkSchema,
} from './admission.ts'
import type { AkAuthority } from './ak-authority.ts'
import { siteOf } from './client-address.ts'
import { type Candidate, decideEnrolment } from './enrolment-decision.ts'
import type { EnrolmentNonces } from './enrolment-nonce.ts'
import { answerOf, challengeRequestOf } from './enrolment-request.ts'

export interface EnrolmentDeps {
  readonly url: string
  readonly rules: AdmissionRules
  readonly lifetimeMs: number
  readonly bounds: { readonly pending: number; readonly perSource: number; readonly held: number }
  readonly repository: Repository
  readonly nonces: EnrolmentNonces
  readonly master: MasterKey
  readonly authority: Pick<AkAuthority, 'certify'>
  /** The wall clock: replicas and instances have no other in common. */
  readonly nowMs: () => number
}

/** What an instance asks for, and what becomes of it. docs/fleet.md has the protocol. */
export interface Enrolment {
  nonce(exporter: Exporter): object
  /** Evidence for a nonce → a challenge. @throws MetabindError ENROL_…, VERIFY_… */
  challenge(body: Uint8Array, source: string, exporter: Exporter): Promise<object>
  /** The answer to it → what the registrar knows the instance by. @throws MetabindError ENROL_…, VERIFY_… */
  enrol(body: Uint8Array, source: string): Promise<EnrolmentReply>
}

/** Of the connection that a request came on, if TLS ends in the registrar. */
type Exporter = Buffer | undefined

interface EnrolmentReply {
  /** 200, or 202 if it waits for approval. */
  readonly status: number
  /** JSON. */
  readonly body: string
}

/** The time in which a challenge must be answered; as long as nonces live, so that none is forgotten before it ends. */
const PENDING_LIFE_MS = 300_000
/** How often a decision is made anew since the instance has changed meanwhile. */
const TRIES = 5
const SEALED_FOR = 'challenge'

export function enrolment(deps: EnrolmentDeps): Enrolment {
  const { nonces, nowMs } = deps
  return {
    nonce: (exporter) => ({
      nonce: nonces.make(nowMs()).toString('hex'),
      // To tell the instance. What it makes of it decides nothing: see challenge.
      ...(exporter === undefined ? {} : { channel: TLS_EXPORTER }),
    }),
    challenge: (body, source, exporter) => challenge(deps, body, source, exporter),
    enrol: async (body, source) => enrol(deps, answerOf(body), source),
  }
}

async function challenge(
  deps: EnrolmentDeps,
  body: Uint8Array,
  source: string,
  exporter: Exporter,
): Promise<object> {
  const nowMs = deps.nowMs()
  const { evidence: json, generation } = challengeRequestOf(body)
  const nonce = Buffer.from(json.nonce, 'hex')
  // What is not for a nonce of ours, as most of what strangers send, costs no more than this.
  const nonceIssuedAtMs = deps.nonces.issuedAtMs(nonce, nowMs)
  const demands = { nonce, url: deps.url, generation, exporter, now: new Date(nowMs) }
  const digest = createHash('sha256').update(body).digest()
  const evidence = evidenceOfJson(json)
  const made = admitIfAnswered(evidence, digest, demands, deps.rules)
  const pending: PendingEnrolment = {
    id: made.challenge.id.toString('hex'),
    nonce: json.nonce,
    source: siteOf(source),
    kept: deps.master.seal(SEALED_FOR, keptBytes(made)),
    generation,
    nonceIssuedAtMs,
    expiresAtMs: nowMs + PENDING_LIFE_MS,
    reply: undefined,
  }
  const added = await deps.repository.addPending(pending, deps.bounds, nowMs)
  if (added === 'used') throw new MetabindError('ENROL_NONCE', 'used before.')
  if (added === 'full') throw new MetabindError('ENROL_FULL')
  return { challenge: JSON.parse(encodeChallenge(made.challenge)) }
}

const keptSchema = z.strictObject({
  secret: z.string(),
  admitted: admittedSchema,
  ak: vouchedAkSchema,
})

/** What waits for the answer. It is sealed: who writes to the database alone has nobody enrolled by it. */
function keptBytes({ kept, admitted, ak }: ReturnType<typeof admitIfAnswered>): Buffer {
  return Buffer.from(JSON.stringify({ secret: encodeKeptSecret(kept), admitted, ak }))
}

async function enrol(deps: EnrolmentDeps, answer: Answer, source: string): Promise<EnrolmentReply> {
  const nowMs = deps.nowMs()
  const pending = await deps.repository.pending(answer.id.toString('hex'), nowMs)
  if (pending === undefined) throw new MetabindError('ENROL_CHALLENGE')
  const opened = deps.master.open(SEALED_FOR, pending.kept).toString()
  const { secret, admitted, ak } = keptSchema.parse(JSON.parse(opened))
  finishChallenge(answer, decodeKeptSecret(Buffer.from(secret)), new Date(nowMs))
  // Whoever lost the reply asks again.
  if (pending.reply !== undefined) return replyOf(pending.reply)
  const { generation, nonceIssuedAtMs } = pending
  const { anchored, unanchored } = deps.rules
  const verdict = admitted.anchor === 'none' ? unanchored : anchored
  // The rules may have become stricter since, in another process.
  if (verdict === 'refuse') throw new MetabindError('VERIFY_UNANCHORED')
  const state = verdict === 'admit' ? 'active' : 'held'
  const { lifetimeMs } = deps
  const candidate = { admitted, generation, nonceIssuedAtMs, source, state, lifetimeMs } as const
  return decide(deps, pending.id, candidate, ak)
}

/** Reads, decides, and writes if nothing has changed meanwhile; else once more. */
async function decide(
  deps: EnrolmentDeps,
  id: string,
  candidate: Candidate,
  ak: VouchedAk,
): Promise<EnrolmentReply> {
  const { admitted } = candidate
  for (let tries = 0; tries < TRIES; tries += 1) {
    const nowMs = deps.nowMs()
    const related = await deps.repository.related(admitted)
    const decision = decideEnrolment(candidate, related, nowMs)
    const { instances, events } = decision
    const reply =
      'enrolled' in decision
        ? await describeEnrolled(deps, decision.enrolled, candidate, ak)
        : undefined
    const finish = reply === undefined ? undefined : { id, reply }
    const isOneMore = reply !== undefined && isNewStranger(candidate, related)
    const strangersMax = isOneMore ? deps.bounds.held : undefined
    if (await deps.repository.commit({ instances, events, finish, strangersMax }, nowMs)) {
      if ('refusal' in decision) throw new MetabindError(decision.refusal, subjectOf(admitted))
      if (reply !== undefined) return replyOf(reply)
    }
    const finished = (await deps.repository.pending(id, nowMs))?.reply
    if (finished !== undefined) return replyOf(finished)
  }
  throw new MetabindError('REGISTRAR_BUSY', 'The instance is changed all the time.')
}

/** Whether it adds one that only an administrator can let in. */
function isNewStranger(
  { admitted, state }: Candidate,
  related: readonly EnrolledInstance[],
): boolean {
  const isKnown = related.some((one) => one.iid === admitted.iid && one.state !== 'evicted')
  return state === 'held' && admitted.anchor === 'none' && !isKnown
}

async function describeEnrolled(
  { authority }: EnrolmentDeps,
  enrolled: EnrolledInstance,
  { admitted }: Candidate,
  ak: VouchedAk,
): Promise<string> {
  const { iid, state, generation, expiresAtMs } = enrolled
  const { record, proven } = admitted
  const subject = subjectOf(enrolled)
  // The certificate says to third parties that the key is in a TPM. That somebody let an unknown TPM in does not.
  const isCertified = state === 'active' && admitted.anchor !== 'none'
  const chain = isCertified
    ? await authority.certify({ ...ak, instance: subject }, expiresAtMs)
    : undefined
  const akCertificates = chain?.map((der) => der.toString('base64'))
  const known = { iid, subject, state, generation, expiresAtMs, proven, record }
  return JSON.stringify({ ...known, akCertificates })
}

function replyOf(body: string): EnrolmentReply {
  const { state } = z.object({ state: z.string() }).parse(JSON.parse(body))
  return { status: state === 'held' ? 202 : 200, body }
}
