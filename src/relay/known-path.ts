import type { Dialect } from '../dialect/dialect.ts'
import { MetabindError } from '../errors.ts'
import type { Metadata } from '../metadata/metadata.ts'
import { ofPath } from '../metadata/target.ts'
import { OWN_PATHS } from './own-paths.ts'

/** Whether a path is one that the source is asked for: only versions of the dialect, and the root, which lists them. */
export function isRelayed(path: string, { versions }: Dialect): boolean {
  const end = path.indexOf('/', 1)
  return path === '/' || versions.includes(end < 0 ? path.slice(1) : path.slice(1, end))
}

/**
 * Whether there is anything at a path, of the agent's own or of the source's.
 *
 * @param path canonical
 * @param onMiss called before the source is asked; what it throws is thrown
 * @returns undefined if the source does not say now
 */
export async function knowsPath(
  { dialect, metadata }: { readonly dialect: Dialect; readonly metadata: Metadata },
  path: string,
  onMiss?: () => void,
): Promise<boolean | undefined> {
  if (path === dialect.tokenPath || OWN_PATHS.includes(path)) return true
  if (!isRelayed(path, dialect)) return false
  try {
    const answered = await metadata.read(ofPath(path), onMiss === undefined ? {} : { onMiss })
    return answered.item !== undefined
  } catch (error) {
    if (error instanceof MetabindError && error.code.startsWith('SOURCE_')) return undefined
    throw error
  }
}
