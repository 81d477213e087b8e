import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { entriesOf, rpmChangelog } from './changelog.ts'
import { filesIn } from './deb.ts'
import type { Release } from './release.ts'
import type { Architecture } from './runtime.ts'
import type { Tree } from './tree.ts'

export const ZSH_FOLDER = 'usr/share/zsh/site-functions'

/** Folders of shells and of SELinux, which may not be installed, and of logrotate; those of others are not ours. */
const SHARED_FOLDERS = [
  'etc/metabind',
  'etc/logrotate.d',
  'usr/share/selinux',
  'usr/share/fish',
  'usr/share/zsh',
]
const OWN_FOLDERS = ['usr/lib', 'usr/share/doc', 'usr/share', 'usr/share/licenses']

/** @returns the file name of the package */
export function buildRpm(
  release: Release,
  architecture: Architecture,
  tree: Tree,
  work: string,
  output: string,
  payload: string,
): string {
  const licences = join(tree.directory, 'usr/share/licenses', tree.name)
  mkdirSync(licences, { recursive: true })
  writeFileSync(join(licences, 'THIRD-PARTY'), tree.copyright)
  copyFileSync(join(release.root, 'LICENSE'), join(licences, 'LICENSE'))
  if (tree.name === 'metabind') placeSelinux(release, tree.directory)

  const spec = join(work, `${tree.name}.spec`)
  const text = readFileSync(join(release.root, tree.spec), 'utf8')
  const markdown = readFileSync(join(release.root, 'CHANGELOG.md'), 'utf8')
  const changes = rpmChangelog(release, entriesOf(release.version, markdown))
  const filled = text.replace('@FILES@', fileList(tree)).replace('@CHANGELOG@', () => changes)
  writeFileSync(spec, filled)
  const macros = {
    _topdir: join(work, 'rpmbuild'),
    metabind_version: release.packageVersion,
    metabind_maintainer: release.maintainer,
    metabind_homepage: release.homepage,
    metabind_licence: tree.licence,
    metabind_tree: tree.directory,
    _rpmdir: output,
    _rpmfilename: '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm',
    _binary_payload: payload,
    _buildhost: 'metabind',
    use_source_date_epoch_as_buildtime: '1',
    clamp_mtime_to_source_date_epoch: '1',
    _build_id_links: 'none',
    _dbpath: join(work, 'rpmdb'),
  }
  const defines = Object.entries(macros).flatMap(([name, value]) => ['-D', `${name} ${value}`])
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(release.epoch) }
  const args = ['-bb', '--quiet', '--target', architecture.rpm, ...defines, spec]
  execFileSync('rpmbuild', args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  return `${tree.name}-${release.packageVersion}-1.${architecture.rpm}.rpm`
}

/** The policy of the agent's domain, for the administrator to load. */
function placeSelinux(release: Release, directory: string): void {
  const policies = join(directory, 'usr/share/selinux/packages/metabind')
  mkdirSync(policies, { recursive: true })
  for (const file of readdirSync(join(release.root, 'packaging/selinux'))) {
    writeFileSync(join(policies, file), readFileSync(join(release.root, 'packaging/selinux', file)))
  }
}

function fileList(tree: Tree): string {
  const folders = [...SHARED_FOLDERS, ...OWN_FOLDERS.map((folder) => `${folder}/${tree.name}`)]
  const owned = folders.filter((folder) => existsSync(join(tree.directory, folder)))
  const own = owned.map((folder) => `%dir /${folder}`)
  const files = filesIn(tree.directory)
    .map((path) => ({ name: path.slice(tree.directory.length), isFile: lstatSync(path).isFile() }))
    .filter(({ name, isFile }) => isFile || owned.some((folder) => name.startsWith(`/${folder}/`)))
    .map(({ name, isFile }) => `${kind(name, isFile, tree)}${name}`)
  return [...own, ...files].sort().join('\n')
}

function kind(name: string, isFile: boolean, tree: Tree): string {
  if (!isFile) return '%dir '
  if (tree.configFiles.includes(name)) return '%config(noreplace) '
  if (name.startsWith('/usr/share/licenses/')) return '%license '
  if (name.startsWith('/usr/share/doc/') || name.startsWith('/usr/share/man/')) return '%doc '
  return ''
}
