import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VERSION } from '../../src/version.ts'
import { layLibrary } from '../harness/library.ts'

/** An hour of token keys is a minute, and six of them six. */
const EPOCH_MS = 60_000
export const TTL_SECONDS_MAX = 360

/**
 * Lays what the package installs, but for two numbers: an epoch is a minute, and a token lives six of them at most, so
 * that keys come and go as often in two hours as they do in five days.
 */
export async function laySoakLibrary(library: string): Promise<void> {
  await layLibrary(library)
  const file = join(library, 'metabindd.cjs')
  const daemon = await readFile(file, 'utf8')
  const shorter = replaceOnce(daemon, 'EPOCH_MS = 36e5;', `EPOCH_MS = ${EPOCH_MS};`)
  await writeFile(
    file,
    replaceOnce(
      shorter,
      'var TTL_SECONDS_MAX = 21600;',
      `var TTL_SECONDS_MAX = ${TTL_SECONDS_MAX};`,
    ),
  )
}

/** The same as another version, beside it. */
export async function layNextVersion(
  library: string,
  next: string,
  version: string,
): Promise<void> {
  await rm(next, { recursive: true, force: true })
  await cp(library, next, { recursive: true })
  const file = join(next, 'metabindd.cjs')
  const daemon = await readFile(file, 'utf8')
  const pattern = /(var package_default = \{[^}]*?version: ")[^"]+"/
  if (!pattern.test(daemon)) throw new Error('the bundle does not say its version')
  await writeFile(file, daemon.replace(pattern, `$1${version}"`))
}

/** Puts another build where the running one came from, as a package manager does. */
export async function swap(library: string, next: string): Promise<void> {
  await rename(library, `${library}.old`)
  await rename(next, library)
  await rm(`${library}.old`, { recursive: true, force: true })
}

export function versionAfter(count: number): string {
  return `${VERSION}-soak.${count}`
}

function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`the bundle has not once: ${from}`)
  return text.replace(from, to)
}
