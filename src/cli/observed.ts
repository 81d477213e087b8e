import { z } from 'zod'
import { askAdmin, type Sockets } from '../client.ts'
import { answerOf } from './answer.ts'

const answer = z.array(
  z.object({
    uid: z.number().optional(),
    unit: z.string().optional(),
    container: z.string().optional(),
    network: z.enum(['host', 'own']),
    isPlaced: z.boolean(),
    tokenRequests: z.number(),
    readsWithToken: z.number(),
    readsWithoutToken: z.number(),
    lastPath: z.string(),
    lastSeen: z.string(),
  }),
)

/** One user's processes, of one unit, that spoke to the metadata service directly. */
export type ObservedRow = z.infer<typeof answer>[number]

/** Who spoke to the metadata service directly while lockdown was observing. @throws MetabindError */
export async function observedBy(sockets: Sockets): Promise<ObservedRow[]> {
  return answerOf(answer, await askAdmin(sockets, 'GET', 'observed'))
}
