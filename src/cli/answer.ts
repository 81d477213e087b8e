import type { z } from 'zod'
import { MetabindError } from '../errors.ts'

/** What the agent said, as a verb reads it. @throws MetabindError SOCKET_BROKEN if another answers */
export function answerOf<T>(schema: z.ZodType<T>, said: unknown): T {
  const parsed = schema.safeParse(said)
  if (parsed.success) return parsed.data
  throw new MetabindError('SOCKET_BROKEN', 'Its answer is not that of an agent.', parsed.error)
}
