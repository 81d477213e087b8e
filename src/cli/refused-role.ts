import type { RefusedRole } from '../admin-api.ts'

/** A role that the cloud gives no credentials for. @returns `NAME: CODE` */
export function roleInWords({ path, code }: RefusedRole): string {
  return `${path.slice(path.lastIndexOf('/') + 1)}: ${code}`
}
