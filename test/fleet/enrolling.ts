import { randomBytes } from 'node:crypto'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { callAdmin } from '../../src/admin-client.ts'
import { enrolmentBind } from '../../src/format/enrolment-bind.ts'
import { decodeEvidence } from '../../src/format/evidence.ts'
import { jwkOf, type PublicJwk } from '../../src/format/tpm-key.ts'
import { nameOf } from '../../src/format/tpm-name.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import type { Instance } from '../harness/instance.ts'

/** The instance's part of an enrolment, spoken with the real agent of an instance and a real registrar. */

export interface Replied {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

type Sockets = Pick<Instance, 'metadataSocket' | 'adminSocket'>
type Place = { readonly origin: string; readonly url: string }

const socketsOf = ({ metadataSocket, adminSocket }: Sockets) => ({
  metadata: metadataSocket,
  admin: adminSocket,
})

async function replied(response: Response): Promise<Replied> {
  return { status: response.status, body: JSON.parse(await response.text()) }
}

export async function post(origin: string, path: string, body: unknown): Promise<Replied> {
  const headers = { 'content-type': 'application/json' }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return replied(await fetch(`${origin}${path}`, { method: 'POST', headers, body: text }))
}

export async function newNonce(origin: string): Promise<string> {
  const { body } = await replied(await fetch(`${origin}/enrol/nonce`))
  return String(body.nonce)
}

export async function evidenceOf(
  instance: Sockets,
  nonce: string,
  bind?: string,
): Promise<Record<string, unknown>> {
  const asked = { nonce, ...(bind === undefined ? {} : { bind }) }
  const made = await callAdmin(socketsOf(instance), ADMIN_CALLS.evidence, asked)
  return JSON.parse(JSON.stringify(made))
}

interface OwnKeys {
  readonly key: PublicJwk
  readonly ekName: Buffer
}

const ownKeys = new Map<string, Promise<OwnKeys>>()

/** SK and EK of an instance, as its own word. They stay the same as long as its TPM does. */
export function ownKeysOf(instance: Sockets): Promise<OwnKeys> {
  const known = ownKeys.get(instance.adminSocket) ?? readOwnKeys(instance)
  ownKeys.set(instance.adminSocket, known)
  return known
}

async function readOwnKeys(instance: Sockets): Promise<OwnKeys> {
  const evidence = await evidenceOf(instance, randomBytes(32).toString('hex'))
  const { ek, certifications } = decodeEvidence(Buffer.from(JSON.stringify(evidence)))
  return { key: jwkOf(parsePublic(certifications.SK.public)), ekName: nameOf(ek.public) }
}

export interface Enrolling {
  readonly generation?: number
  readonly nonce?: string
  /** The registrar that the instance believes to speak to. */
  readonly url?: string
}

/** The first round trip. @returns the body of the second one besides, if there was a challenge */
export async function challengeOf(
  instance: Sockets,
  registrar: Place,
  { generation, nonce, url = registrar.url }: Enrolling = {},
): Promise<Replied & { readonly answer: unknown }> {
  const shown = { url, ...(await ownKeysOf(instance)), generation: generation ?? 0 }
  const bind = enrolmentBind(shown).toString('hex')
  const fresh = nonce ?? (await newNonce(registrar.origin))
  const evidence = await evidenceOf(instance, fresh, bind)
  const body = { evidence, ...(generation === undefined ? {} : { generation }) }
  const challenged = await post(registrar.origin, '/enrol/challenge', body)
  if (challenged.status !== 200) return { ...challenged, answer: undefined }
  const challenge = JSON.stringify(challenged.body.challenge)
  const answer = await callAdmin(socketsOf(instance), ADMIN_CALLS.activate, { challenge })
  return { ...challenged, answer }
}

/** Both round trips. */
export async function enrol(
  instance: Sockets,
  registrar: Place,
  enrolling: Enrolling = {},
): Promise<Replied> {
  const { answer, ...challenged } = await challengeOf(instance, registrar, enrolling)
  if (answer === undefined) return challenged
  return post(registrar.origin, '/enrol', { answer })
}
