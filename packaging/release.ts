import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What is packaged, and what package.json says of the project. */
export interface Release {
  readonly root: string
  readonly cache: string
  /** As package.json and npm have it: `1.0.0-rc.1`. */
  readonly version: string
  /** As DEB and RPM have it: `1.0.0~rc.1`, which both sort before `1.0.0`. */
  readonly packageVersion: string
  /** Seconds since 1970: the time of every file, so that a build can be repeated. */
  readonly epoch: number
  /** Name and address, `NAME <ADDRESS>`. */
  readonly maintainer: string
  readonly homepage: string
}

// The three words sort by letter, and their numbers as numbers, for npm, dpkg and rpm alike. Other
// pre-releases of semantic versions do not.
const VERSION = /^([0-9]+\.[0-9]+\.[0-9]+)(?:-((?:alpha|beta|rc)\.[0-9]+))?$/

/** @throws Error for a version that the three package managers would not sort alike */
export function packageVersion(version: string): string {
  const [, released, preRelease] = VERSION.exec(version) ?? []
  if (released === undefined) {
    throw new Error(`${version} is no version: 1.2.3, or 1.2.3-rc.1 (alpha, beta or rc)`)
  }
  return preRelease === undefined ? released : `${released}~${preRelease}`
}

/** @param asked a version in place of that of package.json */
export function readRelease(asked: string | undefined): Release {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const version = asked ?? String(manifest.version)
  return {
    root,
    cache: join(root, '.dev/package'),
    version,
    packageVersion: packageVersion(version),
    epoch: sourceEpoch(root),
    maintainer: `${manifest.author.name} <${manifest.author.email}>`,
    homepage: manifest.homepage,
  }
}

/** The time of the last commit, unless SOURCE_DATE_EPOCH says another. */
function sourceEpoch(root: string): number {
  return Number(process.env.SOURCE_DATE_EPOCH ?? lastCommitSeconds(root))
}

function lastCommitSeconds(root: string): string {
  // Named like this, git does not ask whose the clone is: root builds in that of a user, too.
  const log = ['--git-dir', join(root, '.git'), 'log', '-1', '--format=%ct']
  try {
    return execFileSync('git', log, { encoding: 'utf8' })
  } catch (error) {
    const remedy = 'Build in a clone, or set SOURCE_DATE_EPOCH to the seconds of its last commit.'
    throw new Error(`git does not know when these sources were made. ${remedy}`, { cause: error })
  }
}
