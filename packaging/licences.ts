import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { RuntimePart } from './runtime-parts.ts'

/** A package whose code is in the bundle. */
export interface Component {
  readonly name: string
  readonly version: string
  readonly licence: string
  /** Its licence file. */
  readonly text: string
}

const LICENCE_FILE = /^(licen[cs]e|copying)/i

/**
 * @param folders of npm packages, relative to `root`
 * @throws Error for a package that names no licence, or has no words of it: it must not be shipped unseen
 */
export function components(root: string, folders: readonly string[]): Component[] {
  return folders.map((folder) => {
    const directory = join(root, folder)
    const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    const { name, version, license } = manifest
    if (typeof license !== 'string') throw new Error(`${name} names no licence`)
    const file = readdirSync(directory).find((entry) => LICENCE_FILE.test(entry))
    const text = file === undefined ? wordsHere(name) : readFileSync(join(directory, file), 'utf8')
    return { name, version, licence: license, text }
  })
}

const HERE = fileURLToPath(new URL('licences', import.meta.url))

/** From packaging/licences, for what comes without. */
function wordsHere(name: string): string {
  const file = join(HERE, name)
  if (!existsSync(file)) throw new Error(`there are no words of the licence of ${name}`)
  return readFileSync(file, 'utf8')
}

// What Node's LICENSE calls parts that have another name in process.versions. ncrypto is Node's own.
const NAMES_IN_NODE: Readonly<Record<string, string>> = {
  ares: 'c-ares',
  cldr: 'ICU',
  ncrypto: 'Node.js',
  tz: 'Time Zone Database',
  uv: 'libuv',
}

/**
 * Where the words of each part's licence are: in Node's LICENSE, or else in packaging/licences.
 *
 * @throws Error for a part without
 */
function partOfRuntime({ name, version, licence }: RuntimePart, nodeLicence: string): string {
  const named = NAMES_IN_NODE[name] ?? name
  const heading = new RegExp(`^ *(?:- )?${named}(?:,? (?:located at|is licensed)|$)`, 'im')
  const [found] = heading.exec(nodeLicence) ?? []
  const title = `${name} ${version}: ${licence}`
  if (found === undefined) return section(title, wordsHere(name))
  return section(title, `Below, in the licence of Node.js, under "${named}".`)
}

/** What holds for the whole of several works: each of their licences. */
export function allLicences(licences: readonly string[]): string {
  const each = [...new Set(licences)].sort()
  return each
    .map((licence) =>
      licence.includes(' OR ') ? `(${licence.replace(/^\((.*)\)$/, '$1')})` : licence,
    )
    .join(' AND ')
}

function section(title: string, text: string): string {
  return `${'-'.repeat(78)}\n${title}\n\n${text.trimEnd()}\n`
}

/** All licences in one text, in Debian's form: what it is, then the words. */
export function copyrightFile(
  packages: readonly Component[],
  node: Component,
  parts: readonly RuntimePart[],
  name = 'metabind',
): string {
  const whole = ({ name, version, licence, text }: Component) =>
    section(`${name} ${version}: ${licence}`, text)
  const sections = [
    ...packages.map(whole),
    ...parts.map((part) => partOfRuntime(part, node.text)),
    whole(node),
  ]
  return `${name}

Copyright: the authors of metabind
Licence: Apache-2.0. On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.

The programs contain the npm packages below, and /usr/lib/${name}/bin/node is Node.js with what is
compiled into it. Their licences:

${sections.join('\n')}`
}
