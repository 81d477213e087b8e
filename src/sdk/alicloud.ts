import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import type { Client, RamCredentials } from './client.ts'

/**
 * The package export `metabind/alicloud`: a credentials provider for @alicloud/credentials, which
 * takes one as the second argument of its client:
 *
 *     new Credential(null, alicloudProvider(openClient()))
 *
 * Nothing of that package is imported; the shapes are those of its `CredentialsProvider`.
 */

/** What @alicloud/credentials calls Credentials. */
export interface AlicloudCredentials {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly securityToken: string
  readonly providerName: string
}

/** What @alicloud/credentials calls CredentialsProvider. */
export interface AlicloudProvider {
  getCredentials(): Promise<AlicloudCredentials>
  getProviderName(): string
}

const PROVIDER_NAME = 'metabind'
// The SDK asks for every call that it makes to the cloud; the agent need not hear of each.
const FRESH_MS = 60_000

interface Held {
  readonly credentials: RamCredentials
  readonly askedAtMs: number
}

/**
 * @param client how the agent is reached
 * @param role the RAM role; the instance's own if absent
 * @returns a provider that asks the agent at most once a minute. While the agent or the source is
 *   down it goes on with what it has until that expires; if the agent refuses, it fails at once.
 */
export function alicloudProvider(client: Client, role?: string): AlicloudProvider {
  let held: Held | undefined
  let asking: Promise<Held> | undefined
  const ask = async (): Promise<Held> => {
    const credentials = await client.credentials(role)
    if (credentials.dialect !== 'aliyun') throw new MetabindError('SOURCE_CLOUD')
    return { credentials, askedAtMs: performance.now() }
  }
  const renewed = async (): Promise<Held> => {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    try {
      return await asking
    } catch (error) {
      if (held !== undefined && isOutage(error) && isAlive(held)) return held
      throw error
    }
  }
  return {
    getProviderName: () => PROVIDER_NAME,
    getCredentials: async () => {
      const isFresh = held !== undefined && performance.now() - held.askedAtMs < FRESH_MS
      held = held !== undefined && isFresh && isAlive(held) ? held : await renewed()
      return inTheirWords(held.credentials)
    },
  }
}

function isAlive(held: Held): boolean {
  return held.credentials.expiration.getTime() > Date.now()
}

/** 5xx: nobody decided anything. A 403 is a decision, and holding on to credentials would undo it. */
function isOutage(error: unknown): boolean {
  return error instanceof MetabindError && ERRORS[error.code].status >= 500
}

function inTheirWords(credentials: RamCredentials): AlicloudCredentials {
  return {
    accessKeyId: credentials.accessKeyId,
    accessKeySecret: credentials.accessKeySecret.reveal(),
    securityToken: credentials.securityToken.reveal(),
    providerName: PROVIDER_NAME,
  }
}
