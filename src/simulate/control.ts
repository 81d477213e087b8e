/** `/_simulator/`: the simulator's own interface over HTTP, for what has no access to its process. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import { type MetadataAnswer, splitTarget } from './answer.ts'
import { send } from './deliver.ts'
import { type FaultList, parseFault } from './faults.ts'
import type { RecordedRequest } from './request-log.ts'

export const CONTROL_PREFIX = '/_simulator/'

/** What of a simulator can be seen and changed from outside. */
interface Controlled {
  readonly faults: Omit<FaultList, 'take'>
  readonly requests: readonly RecordedRequest[]
  readonly certificatePem: string
  rotateCredentials(): void
  setRole(role: string | undefined): void
}

type Action = (simulator: Controlled, body: string) => MetadataAnswer

const ACTIONS: Readonly<Record<string, Action>> = {
  'GET faults': (simulator) => json(200, simulator.faults.list()),
  'POST faults': setFault,
  'DELETE faults': (simulator) => {
    simulator.faults.clear()
    return done()
  },
  'GET requests': (simulator) => json(200, simulator.requests),
  'POST rotate': (simulator) => {
    simulator.rotateCredentials()
    return done()
  },
  'POST role': setRole,
  'DELETE role': (simulator) => {
    simulator.setRole(undefined)
    return done()
  },
  'GET certificate': (simulator) => text(200, simulator.certificatePem),
}

export async function serveControl(
  simulator: Controlled,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = splitTarget(request.url ?? '').path.slice(CONTROL_PREFIX.length)
  const action = `${request.method} ${path}`
  const run = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined
  send(response, run ? run(simulator, await readText(request)) : unknownAction())
}

function unknownAction(): MetadataAnswer {
  return text(404, `there is: ${Object.keys(ACTIONS).join(', ')}\n`)
}

function setFault(simulator: Controlled, body: string): MetadataAnswer {
  try {
    simulator.faults.set(parseFault(body))
  } catch (cause) {
    return text(400, `${cause instanceof Error ? cause.message : cause}\n`)
  }
  return done()
}

function setRole(simulator: Controlled, body: string): MetadataAnswer {
  try {
    simulator.setRole(body)
  } catch (cause) {
    return text(400, `${cause instanceof Error ? cause.message : cause}\n`)
  }
  return done()
}

function done(): MetadataAnswer {
  return { status: 204, headers: {}, body: Buffer.alloc(0) }
}

function text(status: number, body: string): MetadataAnswer {
  return { status, headers: { 'Content-Type': 'text/plain' }, body: Buffer.from(body) }
}

function json(status: number, value: unknown): MetadataAnswer {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  return { status, headers: { 'Content-Type': 'application/json' }, body }
}
