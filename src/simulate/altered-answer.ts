/** Faults that change what is answered, the connection being fine. */
import { randomBytes } from 'node:crypto'
import type { MetadataAnswer } from './answer.ts'
import type { Fault, FaultOf } from './faults.ts'
import { ecsTime, toEcsJson } from './sts-credentials.ts'

const GARBAGE_BYTES = 64

export function alterAnswer(answer: MetadataAnswer, fault: Fault, nowMs: number): MetadataAnswer {
  switch (fault.kind) {
    case 'status':
      return otherStatus(fault)
    case 'empty':
      return { ...answer, body: Buffer.alloc(0) }
    case 'garbage':
      return fault.at === 'body' ? { ...answer, body: randomBytes(GARBAGE_BYTES) } : answer
    case 'credentials':
      return answer.status === 200 ? alterCredentials(answer, fault, nowMs) : answer
    default:
      return answer
  }
}

function otherStatus(fault: FaultOf<'status'>): MetadataAnswer {
  const body = Buffer.from(fault.body ?? `simulated ${fault.code}`)
  return {
    status: fault.code,
    headers: { 'Content-Type': 'text/plain', ...fault.headers },
    body,
  }
}

function alterCredentials(
  answer: MetadataAnswer,
  fault: FaultOf<'credentials'>,
  nowMs: number,
): MetadataAnswer {
  const original: Record<string, string> = JSON.parse(answer.body.toString())
  const moved = moveTimes(original, shiftMs(original, fault, nowMs))
  const coded = fault.code === undefined ? moved : { ...moved, Code: fault.code }
  const kept = Object.entries(coded).filter(([name]) => name !== fault.missing)
  return { ...answer, body: Buffer.from(toEcsJson(Object.fromEntries(kept))) }
}

function shiftMs(
  credentials: Readonly<Record<string, string>>,
  fault: FaultOf<'credentials'>,
  nowMs: number,
): number {
  const skewMs = (fault.skewSeconds ?? 0) * 1000
  return fault.expired ? nowMs - 1000 - Date.parse(credentials.Expiration ?? '') + skewMs : skewMs
}

function moveTimes(credentials: Readonly<Record<string, string>>, byMs: number) {
  const move = (time = '') => ecsTime(Date.parse(time) + byMs)
  return {
    ...credentials,
    Expiration: move(credentials.Expiration),
    LastUpdated: move(credentials.LastUpdated),
  }
}
