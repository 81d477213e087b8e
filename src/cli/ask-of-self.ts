import type { z } from 'zod'
import { ADMIN_PREFIX } from '../admin-api.ts'
import { answerIn } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { readMetadata } from '../client.ts'
import type { Secret } from '../secret.ts'

/**
 * Asks the metadata socket what the admin socket answers to administrators: what it says of the caller
 * alone. @throws MetabindError
 */
export async function askOfSelf<Answer>(
  sockets: Sockets,
  name: string,
  answer: z.ZodType<Answer>,
  token: Secret<string>,
): Promise<Answer> {
  const { body } = await readMetadata(sockets, `${ADMIN_PREFIX}${name}`, token)
  return answerIn(answer, body)
}
