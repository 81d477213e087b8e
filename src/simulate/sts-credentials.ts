/** The STS credentials of the instance's RAM role (ECS user guide, "Instance RAM roles"). */
import { randomBytes } from 'node:crypto'

/** The members of the answer, in its order. */
export interface StsCredentials {
  readonly AccessKeyId: string
  readonly AccessKeySecret: string
  readonly Expiration: string
  readonly SecurityToken: string
  readonly LastUpdated: string
  readonly Code: string
}

export const CREDENTIAL_LIFETIME_SECONDS = 21_600
/** A new credential appears at least this long before the old one ends. */
const OVERLAP_SECONDS = 1_800

export interface CredentialSource {
  /** The current credentials: the same until they rotate. @throws CredentialsDue */
  read(): StsCredentials
  /** Gets new ones if they are due. @returns whether there are any to read */
  renew(): Promise<boolean>
  rotate(): void
  /** Ends what it waits for. */
  close(): void
}

/** They have to be renewed before they are read, which takes a while. */
export class CredentialsDue extends Error {}

export function stsCredentials(lifetimeSeconds: number, now: () => number): CredentialSource {
  const overlapSeconds = Math.min(OVERLAP_SECONDS, lifetimeSeconds / 2)
  const issue = () => {
    const renewAtMs = now() + (lifetimeSeconds - overlapSeconds) * 1000
    return { credentials: newCredentials(now(), lifetimeSeconds), renewAtMs }
  }
  let current = issue()
  const rotate = () => {
    current = issue()
  }
  const read = () => {
    if (now() >= current.renewAtMs) rotate()
    return current.credentials
  }
  // Made up at once.
  return { read, rotate, renew: async () => true, close: () => undefined }
}

/** Spacing of the vendor's sample: `"Key" : "value"`, a member a line. */
export function toEcsJson(credentials: Readonly<Record<string, unknown>> | StsCredentials): string {
  const members = Object.entries(credentials)
  const lines = members.map(
    ([name, value]) => `  ${JSON.stringify(name)} : ${JSON.stringify(value)}`,
  )
  return `{\n${lines.join(',\n')}\n}`
}

/** `YYYY-MM-DDThh:mm:ssZ`: the Go and Python clients refuse a fraction of a second. */
export function ecsTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

function newCredentials(nowMs: number, lifetimeSeconds: number): StsCredentials {
  return {
    AccessKeyId: `STS.${randomText(25)}`,
    AccessKeySecret: randomText(44),
    Expiration: ecsTime(nowMs + lifetimeSeconds * 1000),
    SecurityToken: `CAIS${randomBytes(384).toString('base64')}`,
    LastUpdated: ecsTime(nowMs),
    Code: 'Success',
  }
}

/** Letters and digits, as the vendor's keys are. */
function randomText(length: number): string {
  const text = randomBytes(length * 2)
    .toString('base64')
    .replaceAll(/[+/=]/g, '')
  return text.slice(0, length)
}
