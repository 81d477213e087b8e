import type { RamCredentials } from '../dialect/role-credentials.ts'
import { MetabindError } from '../errors.ts'
import type { Client } from '../sdk/client.ts'
import { credentialsUrl } from './credentials-url.ts'

/** What a command's environment gets; undefined: taken out of it. */
export type Environment = Record<string, string | undefined>

interface Variables {
  /** Of the SDKs' default chain these come before what is set here, and would win over it. */
  readonly earlierInChain: readonly string[]
  /** No SDK shall go around the agent, read without a token, or take keys from a file. */
  readonly always: Readonly<Record<string, string>>
  readonly uri: string
  readonly keyId: string
  readonly keySecret: string
  readonly token: string
}

const VARIABLES: Readonly<Record<RamCredentials['dialect'], Variables>> = {
  aliyun: {
    earlierInChain: [
      'ALIBABA_CLOUD_ACCESS_KEY_ID',
      'ALIBABA_CLOUD_ACCESS_KEY_SECRET',
      'ALIBABA_CLOUD_SECURITY_TOKEN',
      'ALIBABA_CLOUD_ROLE_ARN',
      'ALIBABA_CLOUD_OIDC_PROVIDER_ARN',
      'ALIBABA_CLOUD_OIDC_TOKEN_FILE',
      'ALIBABA_CLOUD_CREDENTIALS_URI',
      'ALIBABA_CLOUD_ECS_METADATA',
    ],
    always: {
      ALIBABA_CLOUD_ECS_METADATA_DISABLED: 'true',
      ALIBABA_CLOUD_IMDSV1_DISABLED: 'true',
      ALIBABA_CLOUD_CLI_PROFILE_DISABLED: 'true',
    },
    uri: 'ALIBABA_CLOUD_CREDENTIALS_URI',
    keyId: 'ALIBABA_CLOUD_ACCESS_KEY_ID',
    keySecret: 'ALIBABA_CLOUD_ACCESS_KEY_SECRET',
    token: 'ALIBABA_CLOUD_SECURITY_TOKEN',
  },
  ec2: {
    earlierInChain: [
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_SESSION_TOKEN',
      'AWS_SECURITY_TOKEN',
      'AWS_PROFILE',
      'AWS_DEFAULT_PROFILE',
      'AWS_ROLE_ARN',
      'AWS_WEB_IDENTITY_TOKEN_FILE',
      'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
      'AWS_CONTAINER_CREDENTIALS_FULL_URI',
      // Not for the agent: it would be sent along.
      'AWS_CONTAINER_AUTHORIZATION_TOKEN',
      'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
    ],
    always: {
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_EC2_METADATA_V1_DISABLED: 'true',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    },
    uri: 'AWS_CONTAINER_CREDENTIALS_FULL_URI',
    keyId: 'AWS_ACCESS_KEY_ID',
    keySecret: 'AWS_SECRET_ACCESS_KEY',
    token: 'AWS_SESSION_TOKEN',
  },
}

/**
 * The environment that the SDKs of the instance's cloud know.
 *
 * @param how a credentials URL, or the credentials themselves
 * @param from the environment so far
 * @param role the instance's own if absent
 * @throws MetabindError where the agent gives none
 */
export async function environmentOf(
  client: Client,
  how: 'uri' | 'env',
  from: Environment,
  role?: string,
): Promise<Environment> {
  const variables = VARIABLES[await client.dialect()]
  const cleared = Object.fromEntries(variables.earlierInChain.map((name) => [name, undefined]))
  const common = { ...cleared, ...variables.always }
  if (how === 'uri') {
    const url = await credentialsUrl(client, role)
    return { ...common, ...withoutProxy(hostOf(url), from), [variables.uri]: url }
  }
  const credentials = await client.credentials(role)
  return {
    ...common,
    [variables.keyId]: credentials.accessKeyId,
    [variables.keySecret]: credentials.accessKeySecret.reveal(),
    [variables.token]: credentials.securityToken.reveal(),
  }
}

/** HTTP clients send what is for loopback to a proxy too, and the URL with its secret, unless told not to. */
function withoutProxy(
  host: string,
  { no_proxy: lower, NO_PROXY: upper }: Environment,
): Environment {
  // Some clients read the one, some the other, and some the first that is set.
  return { no_proxy: adding(host, lower ?? upper), NO_PROXY: adding(host, upper ?? lower) }
}

function adding(host: string, hosts = ''): string {
  const named = hosts.split(',').map((name) => name.trim())
  if (hosts.trim() === '*' || named.includes(host)) return hosts
  return [...named.filter((name) => name !== ''), host].join(',')
}

function hostOf(url: string): string {
  try {
    return new URL(url).hostname
  } catch (error) {
    throw new MetabindError('SOCKET_BROKEN', 'It sent no URL.', error)
  }
}
