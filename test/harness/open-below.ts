import { readdirSync, readlinkSync } from 'node:fs'

/** The files below a directory that this process has open, those that were removed since among them. */
export function openBelow(directory: string): string[] {
  return readdirSync('/proc/self/fd')
    .map(targetOf)
    .filter((target) => target.startsWith(`${directory}/`))
}

function targetOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    // The listing's own.
    return ''
  }
}
