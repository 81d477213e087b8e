import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { debianChangelog, entriesOf } from './changelog.ts'
import { compressDeb, type DebCompression } from './deb-archive.ts'
import type { Release } from './release.ts'
import type { Architecture } from './runtime.ts'
import type { Tree } from './tree.ts'

export const ZSH_FOLDER = 'usr/share/zsh/vendor-completions'

const SCRIPTS = ['postinst', 'prerm', 'postrm'] as const

/** @returns the file name of the package */
export function buildDeb(
  release: Release,
  architecture: Architecture,
  tree: Tree,
  work: string,
  output: string,
  compression: DebCompression,
): string {
  const at = (path: string) => join(tree.directory, path)
  const debianFile = (name: string) => join(release.root, tree.debian, name)
  const version = `${release.packageVersion}-1`
  const documents = at(`usr/share/doc/${tree.name}`)
  writeFileSync(join(documents, 'copyright'), tree.copyright)
  const changes = readFileSync(join(release.root, 'CHANGELOG.md'), 'utf8')
  const entries = entriesOf(release.version, changes)
  const compressed = (text: string) => gzipSync(text, { level: 9 })
  writeFileSync(join(documents, 'changelog.gz'), compressed(changes))
  writeFileSync(
    join(documents, 'changelog.Debian.gz'),
    compressed(debianChangelog(release, entries, tree.name)),
  )
  mkdirSync(at('usr/share/lintian/overrides'), { recursive: true })
  cpSync(debianFile('lintian-overrides'), at(`usr/share/lintian/overrides/${tree.name}`))

  mkdirSync(at('DEBIAN'))
  const control = readFileSync(debianFile('control'), 'utf8')
    .replace('@VERSION@', version)
    .replace('@MAINTAINER@', release.maintainer)
    .replace('@HOMEPAGE@', release.homepage)
    .replace('@ARCHITECTURE@', architecture.deb)
    .replace('@SIZE@', String(kibibytes(tree.directory)))
  writeFileSync(at('DEBIAN/control'), control)
  writeFileSync(at('DEBIAN/conffiles'), `${tree.configFiles.join('\n')}\n`)
  for (const script of SCRIPTS) {
    cpSync(debianFile(script), at(`DEBIAN/${script}`))
    chmodSync(at(`DEBIAN/${script}`), 0o755)
  }
  writeFileSync(at('DEBIAN/md5sums'), checksums(tree))
  for (const path of filesIn(tree.directory)) lutimesSync(path, release.epoch, release.epoch)

  const name = `${tree.name}_${version}_${architecture.deb}.deb`
  const plain = join(work, 'plain.deb')
  const args = ['--root-owner-group', '-Znone', '--build', tree.directory, plain]
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(release.epoch) }
  execFileSync('dpkg-deb', args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  compressDeb(plain, `./${tree.runtime}`, work, join(output, name), compression)
  return name
}

/** As dpkg wants it: relative names, without the configuration files. */
function checksums(tree: Tree): string {
  const files = filesIn(tree.directory)
    .filter((path) => lstatSync(path).isFile() && !path.startsWith(join(tree.directory, 'DEBIAN')))
    .map((path) => path.slice(tree.directory.length + 1))
    .filter((path) => !tree.configFiles.includes(`/${path}`))
    .sort()
  return execFileSync('md5sum', files, { cwd: tree.directory, encoding: 'utf8' })
}

function kibibytes(directory: string): number {
  const sizes = filesIn(directory).map((path) => lstatSync(path))
  return sizes.reduce((sum, stat) => sum + (stat.isFile() ? Math.ceil(stat.size / 1024) : 1), 0)
}

/** Everything below a directory, and the directory itself, deepest first. */
export function filesIn(directory: string): string[] {
  const below = readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    return entry.isDirectory() ? filesIn(path) : [path]
  })
  return [...below, directory]
}
