import { randomBytes } from 'node:crypto'
import { enrolmentBind } from '../../src/format/enrolment-bind.ts'
import { identityDocumentAudience } from '../../src/format/evidence-nonce.ts'
import { iidOf } from '../../src/format/instance-identity.ts'
import { nameOf } from '../../src/format/tpm-name.ts'
import {
  newSoftwareSeeds,
  type SoftwareSeeds,
  type SoftwareTpm,
  softwareTpm,
} from '../harness/software-tpm.ts'

/** An instance without an agent, a TPM or a cloud: its part of an enrolment as values, to be sent or altered first. */
export interface SoftwareInstance {
  readonly instanceId: string
  readonly tpm: SoftwareTpm
  /** Of its EK, leaf first, in base64. */
  readonly certificates: readonly string[]
  /** The cloud's word for it, in base64; undefined: it has none. @param audience of the document */
  readonly document: ((audience: string, instanceId: string) => string) | undefined
  readonly boot: SoftwareBoot
}

/** What its firmware measured. */
export interface SoftwareBoot {
  /** Of the bank of SHA-256. */
  readonly pcrs: Readonly<Record<string, Buffer>>
  /** In base64. */
  readonly eventLog: string | undefined
}

/** One that nothing vouches for. */
export function unknownInstance(
  instanceId: string,
  seeds: SoftwareSeeds = newSoftwareSeeds(),
): SoftwareInstance {
  const tpm = softwareTpm(seeds)
  return { instanceId, tpm, certificates: [], document: undefined, boot: UNLOGGED_BOOT }
}

const UNLOGGED_BOOT: SoftwareBoot = {
  pcrs: { 0: Buffer.alloc(32, 1), 7: Buffer.alloc(32, 7) },
  eventLog: undefined,
}

export interface Bound {
  readonly nonce: string
  readonly url: string
  readonly generation: number
}

/** A document of evidence for an enrolment, as JSON has it. */
export function evidenceFor(instance: SoftwareInstance, { nonce, url, generation }: Bound) {
  const { tpm, instanceId, certificates, document, boot } = instance
  const bind = enrolmentBind({ url, key: tpm.skJwk, ekName: tpm.ekName, generation })
  const qualifier = { nonce: Buffer.from(nonce, 'hex'), bind }
  const pcrs = Object.fromEntries(
    Object.entries(boot.pcrs).map(([pcr, value]) => [pcr, value.toString('hex')]),
  )
  const pkcs7 = document?.(identityDocumentAudience(qualifier), instanceId)
  return {
    format: 'metabind evidence',
    version: 2,
    ...{ nonce, bind: bind.toString('hex'), dialect: 'aliyun', instanceId },
    ek: { kind: 'P-256', public: tpm.ekPublic.toString('base64'), certificates },
    ak: { public: tpm.akPublic.toString('base64') },
    ...tpm.attest(qualifier, boot.pcrs),
    pcrs: { sha256: pcrs },
    ...(boot.eventLog === undefined ? {} : { eventLog: boot.eventLog }),
    ...(pkcs7 === undefined ? {} : { identityDocument: { pkcs7 } }),
  }
}

/** A challenge as JSON has it. */
export interface ChallengeJson {
  readonly id: string
  readonly credentialBlob: string
  readonly encryptedSecret: string
}

/** The answer of its TPM; of another's challenge it is no right one. */
export function answerTo(
  { tpm }: Pick<SoftwareInstance, 'tpm'>,
  { id, credentialBlob, encryptedSecret }: ChallengeJson,
) {
  const blobs = [credentialBlob, encryptedSecret].map((blob) => Buffer.from(blob, 'base64'))
  const [blob = Buffer.alloc(0), secret = Buffer.alloc(0)] = blobs
  const opened = tpm.activate(blob, secret) ?? Buffer.alloc(32)
  return { format: 'metabind answer', version: 1, id, secret: opened.toString('base64') }
}

function iidOfSoftware({ tpm, instanceId }: SoftwareInstance): string {
  const { ekName, akName, keyPublics } = tpm
  const rkName = nameOf(keyPublics.RK)
  return iidOf({ dialect: 'aliyun', instanceId, ekName, akName, rkName }).toString('hex')
}

/** An identity token that its SK signs (src/format/identity-token.ts). */
export function identityTokenOfSoftware(instance: SoftwareInstance, audience: string): string {
  const iat = Math.floor(Date.now() / 1000)
  const iid = iidOfSoftware(instance)
  const claims = {
    ...{ iss: `metabind:${iid}`, sub: instance.instanceId, aud: audience, iat, exp: iat + 900 },
    ...{ jti: randomBytes(16).toString('hex'), iid },
  }
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`
  return `${input}.${instance.tpm.signWithSk(input)}`
}

interface Place {
  readonly origin: string
  readonly url: string
}

export interface Replied {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** A request as a proxy before the registrar passes it on. @param from the address that it came from there */
export async function requested(
  { origin }: Pick<Place, 'origin'>,
  path: string,
  body?: object,
  from = '127.0.0.1',
): Promise<Replied> {
  const response = await fetch(`${origin}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
    body: body === undefined ? null : JSON.stringify(body),
  })
  return { status: response.status, body: JSON.parse(await response.text()) }
}

export type EvidenceJson = ReturnType<typeof evidenceFor>

/** Evidence of an instance for a new nonce. */
export async function freshEvidence(
  instance: SoftwareInstance,
  registrar: Place,
  generation = 0,
): Promise<EvidenceJson> {
  const { body } = await requested(registrar, '/enrol/nonce')
  return evidenceFor(instance, { nonce: String(body.nonce), url: registrar.url, generation })
}

/** Both round trips with evidence as it is given, answered by any TPM. */
export async function enrolledBy(
  registrar: Place,
  evidence: EvidenceJson,
  answerer: Pick<SoftwareInstance, 'tpm'>,
  { generation = 0, from }: { readonly generation?: number; readonly from?: string } = {},
): Promise<Replied> {
  const body = { evidence, generation }
  const challenged = await requested(registrar, '/enrol/challenge', body, from)
  if (challenged.status !== 200) return challenged
  const answer = answerTo(answerer, challenged.body.challenge as ChallengeJson)
  return requested(registrar, '/enrol', { answer }, from)
}
