// What stands beside meta-data below a version.
const BESIDE_METADATA = ['meta-data', 'user-data', 'vendor-data', 'dynamic', 'maintenance']

/**
 * A path as a person writes it, absolute (`/2016-01-01/user-data`) or short, as a whole one of the latest
 * version: `user-data` and `dynamic/…` stand beside `meta-data`, everything else is in it.
 */
export function wholePath(path: string): string {
  if (path.startsWith('/')) return path
  const [first = ''] = path.split(/[/?]/, 1)
  return BESIDE_METADATA.includes(first) ? `/latest/${path}` : `/latest/meta-data/${path}`
}
