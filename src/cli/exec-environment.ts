import { DIALECTS } from '../dialect/dialects.ts'
import { revealAs } from '../dialect/role-credentials.ts'
import { MetabindError } from '../errors.ts'
import type { Client } from '../sdk/client.ts'
import { credentialsOf, credentialsUrl } from './role.ts'

/** What a command's environment gets; undefined: taken out of it. */
export type Environment = Record<string, string | undefined>

/**
 * The environment that the SDKs of the instance's cloud know.
 *
 * @param how a credentials URL, or the credentials themselves
 * @param from the environment so far
 * @param role the instance's own if absent
 * @throws MetabindError if the agent gives none
 */
export async function environmentOf(
  client: Client,
  how: 'uri' | 'env',
  from: Environment,
  role?: string,
): Promise<Environment> {
  const variables = DIALECTS[await client.dialect()].sdk.environment
  const cleared = Object.fromEntries(variables.earlierInChain.map((name) => [name, undefined]))
  const common = { ...cleared, ...variables.always }
  if (how === 'uri') {
    const url = await credentialsUrl(client, role)
    return { ...common, ...withoutProxy(hostOf(url), from), [variables.url]: url }
  }
  return { ...common, ...revealAs(variables.names, await credentialsOf(client, role)) }
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
