/** An application: `node client.mjs SOCKET`. */
import { type Client, type ErrorCode, MetabindError, openClient } from 'metabind/client'

const [socket = ''] = process.argv.slice(2)
const client: Client = openClient({ socket, ttlSeconds: 60 })

async function codeOf(asked: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await asked
    return undefined
  } catch (error) {
    if (error instanceof MetabindError) return error.code
    throw error
  }
}

const credentials = await client.credentials()
const secret: string = credentials.accessKeySecret.reveal()
// @ts-expect-error a secret is no text
const printed: string = credentials.accessKeySecret
const watched = client.watch('region-id', { everyMs: 20 })
const { value } = await watched.next()
await watched.return()

const seen = {
  instanceId: (await client.get('instance-id')).toString('utf8'),
  token: (await client.token()).reveal().length,
  keyId: credentials.accessKeyId,
  secretBytes: secret.length,
  printed: `${printed}`,
  lives: credentials.expiration.getTime() > Date.now(),
  region: value?.toString('utf8'),
  absent: await codeOf(client.get('no-such-thing')),
  down: await codeOf(openClient({ socket: `${socket}.none` }).get('instance-id')),
}
process.stdout.write(JSON.stringify(seen))
