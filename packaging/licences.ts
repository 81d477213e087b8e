import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A package whose code is in the bundle. */
export interface Component {
  readonly name: string
  readonly version: string
  readonly licence: string
  /** Its licence file. */
  readonly text: string
}

const LICENCE_FILE = /^(licen[cs]e|copying)/i

/** @throws Error for a package that names no licence: it must not be shipped unseen */
export function components(root: string, folders: readonly string[]): Component[] {
  return folders.map((folder) => {
    const directory = join(root, folder)
    const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    const { name, version, license, author } = manifest
    if (typeof license !== 'string') throw new Error(`${name} names no licence`)
    const file = readdirSync(directory).find((entry) => LICENCE_FILE.test(entry))
    const by = typeof author === 'string' ? author : (author?.name ?? 'its authors')
    const text =
      file === undefined ? `${license}, by ${by}\n` : readFileSync(join(directory, file), 'utf8')
    return { name, version, licence: license, text }
  })
}

/** All licences in one text, in Debian's form: what it is, then the words. */
export function copyrightFile(parts: readonly Component[], node: Component): string {
  const sections = [...parts, node].map(
    ({ name, version, licence, text }) =>
      `${'-'.repeat(78)}\n${name} ${version}: ${licence}\n\n${text.trimEnd()}\n`,
  )
  return `metabind

Copyright: the authors of metabind
Licence: Apache-2.0. On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.

The programs contain the npm packages below, and /usr/lib/metabind/bin/node is Node.js with what is
compiled into it. Their licences:

${sections.join('\n')}`
}
