import type { RefusedRole } from '../admin-api.ts'

/** The roles that the cloud gives no credentials for, and the Code that it gives instead. */
export interface RoleRefusals {
  /** @returns whether that is news */
  refused(path: string, code: string): boolean
  /** The path gave credentials, or is no more. @returns whether that is news */
  ended(path: string): boolean
  list(): RefusedRole[]
}

// An instance has one role or a few. Beyond, the oldest is told of again.
const ROLES_MAX = 64

export function roleRefusals(): RoleRefusals {
  const codes = new Map<string, string>()
  return {
    refused: (path, code) => {
      const isNews = codes.get(path) !== code
      codes.set(path, code)
      const [oldest] = codes.keys()
      if (codes.size > ROLES_MAX && oldest !== undefined) codes.delete(oldest)
      return isNews
    },
    ended: (path) => codes.delete(path),
    list: () => [...codes].map(([path, code]) => ({ path, code })),
  }
}
