import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { readAtMost } from '../storage/read-at-most.ts'

/**
 * Reads a key that somebody gives to the registrar. Links are followed: whoever renews certificates puts one in the place
 * of another. What is behind it is judged.
 *
 * @param bytesMax what is longer is cut
 * @throws Error of node:fs, or in words if it is no file, of another user but root, or accessible to others
 */
export function readGuardedFile(path: string, bytesMax: number): Buffer {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    requireGuarded(fstatSync(descriptor))
    return readAtMost(descriptor, bytesMax)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * A group may read it only if root says so: a package gives it so to those who end TLS, and of a credential of systemd the
 * bits of the group are those of an access control list with this user in it.
 */
function requireGuarded(stat: Stats): void {
  const { uid, mode } = stat
  if (!stat.isFile()) throw new Error('not a regular file')
  if (uid !== process.getuid?.() && uid !== 0) throw new Error('of another owner')
  if ((mode & (uid === 0 ? 0o037 : 0o077)) !== 0) throw new Error('accessible to others')
}
