import { MetabindError } from '../errors.ts'
import type { Client, RamCredentials } from '../sdk/client.ts'

/** Credentials of a role; of the instance's own if absent. @throws MetabindError ROLE_ABSENT */
export function credentialsOf(client: Client, role?: string): Promise<RamCredentials> {
  return sayingWhichRole(client, role, () => client.credentials(role))
}

/** The URL where this user's processes read the credentials of a role; the instance's own if absent. */
export async function credentialsUrl(client: Client, role?: string): Promise<string> {
  const base = (await client.get('/metabind/v1/credentials-uri')).toString('utf8')
  return `${base}/${role ?? (await sayingWhichRole(client, role, () => client.role()))}`
}

/** In place of "no such metadata": which role there is, if there is one. */
async function sayingWhichRole<T>(
  client: Client,
  role: string | undefined,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof MetabindError) || error.code !== 'METADATA_ABSENT') throw error
    const own = role === undefined ? undefined : await client.role().catch(() => undefined)
    const said = own === undefined ? 'It has none.' : `It has '${own}', not '${role}'.`
    throw new MetabindError('ROLE_ABSENT', said, error)
  }
}
