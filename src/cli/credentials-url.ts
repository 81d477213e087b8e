import type { Client } from '../sdk/client.ts'

/** The URL where this user's processes read the credentials of a role; the instance's own if absent. */
export async function credentialsUrl(client: Client, role?: string): Promise<string> {
  const base = (await client.get('/metabind/v1/credentials-uri')).toString('utf8')
  return `${base}/${role ?? (await client.role())}`
}
