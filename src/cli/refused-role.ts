import { z } from 'zod'

/** A role that the cloud gives no credentials for, as the agent's status has it: words for a terminal. */
export const refusedRole = z.object({
  path: z.string().regex(/^[\x21-\x7e]{1,2048}$/),
  code: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
})

/** @returns `NAME: CODE` */
export function roleInWords({ path, code }: z.infer<typeof refusedRole>): string {
  return `${path.slice(path.lastIndexOf('/') + 1)}: ${code}`
}
