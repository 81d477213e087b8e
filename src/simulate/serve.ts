/** A request from its arrival to its answer: record, faults, rules, delivery. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { alterAnswer } from './altered-answer.ts'
import {
  answerRequest,
  type MetadataAnswer,
  type MetadataRequest,
  type MetadataService,
  splitTarget,
} from './answer.ts'
import { deliver, hidesStatus } from './deliver.ts'
import type { Fault, FaultList } from './faults.ts'
import type { RequestLog } from './request-log.ts'
import { CredentialsDue } from './sts-credentials.ts'

export interface MetadataServiceDeps {
  readonly service: () => MetadataService
  /** Gets the role's credentials if they are due. @returns whether there are any */
  readonly renewCredentials: () => Promise<boolean>
  readonly faults: FaultList
  readonly log: RequestLog
  readonly now: () => number
  /** Aborts what waits when the simulator closes. */
  readonly closing: AbortSignal
}

export async function serveMetadata(
  serving: MetadataServiceDeps,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url: target = '', rawHeaders } = incoming
  const request = { method, target, rawHeaders }
  const record = serving.log.add(request)
  const met = serving.faults.take(method, splitTarget(target).path)
  await wait(met, serving.closing)
  if (met.some((fault) => fault.kind === 'reject-tokens')) serving.service().sessions.closeAll()
  const alter = (answer: MetadataAnswer, fault: Fault) => alterAnswer(answer, fault, serving.now())
  const answer = met.reduce(alter, await answerOf(serving, request))
  if (!met.some(hidesStatus)) record.status = answer.status
  await deliver(response, answer, met)
}

/** Whoever may not read them does not have credentials renewed: that is found out first. */
async function answerOf(
  { service, renewCredentials }: MetadataServiceDeps,
  request: MetadataRequest,
): Promise<MetadataAnswer> {
  try {
    return answerRequest(request, service())
  } catch (error) {
    if (!(error instanceof CredentialsDue)) throw error
    return (await renewCredentials()) ? answerRequest(request, service()) : NO_CREDENTIALS
  }
}

const NO_CREDENTIALS: MetadataAnswer = {
  status: 503,
  headers: { 'Content-Type': 'text/plain' },
  body: Buffer.from('The credentials command gave none; the simulator has said why.'),
}

async function wait(faults: readonly Fault[], signal: AbortSignal): Promise<void> {
  const latencies = faults.map((fault) => (fault.kind === 'latency' ? fault.ms : 0))
  const ms = latencies.reduce((sum, one) => sum + one, 0)
  // Even a timer of 0 ms waits for the next millisecond.
  if (ms > 0) await delay(ms, undefined, { signal })
}
