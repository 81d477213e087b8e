import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** SHA256SUMS of a folder of packages, in the form of sha256sum. */

const PACKAGE = /\.(deb|rpm|tgz)$/

/** The packages in a folder. */
export function packagesIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => PACKAGE.test(name))
    .sort()
}

/** Writes SHA256SUMS over all packages of the folder. @returns its file name */
export function writeSums(directory: string): string {
  const file = join(directory, 'SHA256SUMS')
  const lines = packagesIn(directory).map((name) => `${sum(join(directory, name))}  ${name}\n`)
  // The signature of the sums before these.
  rmSync(`${file}.asc`, { force: true })
  writeFileSync(file, lines.join(''))
  return file
}

/** @throws Error for a package that is not as SHA256SUMS says, or not in there */
export function verifySums(directory: string): void {
  const lines = readFileSync(join(directory, 'SHA256SUMS'), 'utf8').split('\n')
  const found = packagesIn(directory)
  for (const name of found) {
    if (lines.includes(`${sum(join(directory, name))}  ${name}`)) continue
    throw new Error(`${name} is not what SHA256SUMS says`)
  }
}

/** In hexadecimal. */
export function sum(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
