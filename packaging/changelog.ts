import { packageVersion, type Release } from './release.ts'

/** The changelogs of the packages, from CHANGELOG.md. */

/** What changed in one version. */
export interface Entry {
  /** Undefined for what is not released. */
  readonly version: string | undefined
  /** YYYY-MM-DD, of a release */
  readonly date: string | undefined
  readonly changes: readonly Change[]
}

interface Change {
  /** Like `Added: Packaging`. */
  readonly heading: string
  readonly text: string
}

/** @throws Error for a heading that is neither `Unreleased` nor `VERSION - DATE` */
export function parseChangelog(markdown: string): Entry[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [title = '', ...lines] = section.split('\n')
      const [, version, date] = /^(\S+) - (\d{4}-\d\d-\d\d)$/.exec(title.trim()) ?? []
      if (version === undefined && title.trim() !== 'Unreleased') {
        throw new Error(
          `CHANGELOG.md: '${title}' is neither 'Unreleased' nor 'VERSION - YYYY-MM-DD'`,
        )
      }
      return { version, date, changes: changesOf(lines) }
    })
}

function changesOf(lines: readonly string[]): Change[] {
  const changes: { heading: string; text: string }[] = []
  let kind = ''
  let heading = ''
  for (const line of lines) {
    const [, marks, words = ''] = /^(###|####|-| ) +(.+)$/.exec(line) ?? []
    if (marks === '###') kind = heading = words
    if (marks === '####') heading = `${kind}: ${words}`
    if (marks === '-') changes.push({ heading, text: words })
    const last = changes.at(-1)
    if (marks === ' ' && last !== undefined) last.text += ` ${words}`
  }
  return changes
}

/**
 * The entries of a package: those of its version and of all before, newest first. What is not released
 * stands for a version that CHANGELOG.md does not have yet.
 */
export function entriesOf(version: string, markdown: string): Entry[] {
  const entries = parseChangelog(markdown)
  const at = entries.findIndex((entry) => entry.version === version)
  if (at >= 0) return entries.slice(at)
  const { changes = [] } = entries.find(({ version }) => version === undefined) ?? {}
  const released = entries.filter(({ version }) => version !== undefined)
  return [{ version: undefined, date: undefined, changes }, ...released]
}

const NOTHING: Change = { heading: '', text: 'Nothing that a user would notice.' }

/** In the form that deb-changelog(5) has. */
export function debianChangelog(
  release: Release,
  entries: readonly Entry[],
  name = 'metabind',
): string {
  const texts = entries.map((entry) => {
    const version = `${packageVersion(entry.version ?? release.version)}-1`
    const distribution = entry.version === undefined ? 'UNRELEASED' : 'unstable'
    const date = timeOf(entry, release).toUTCString().replace('GMT', '+0000')
    const lines = grouped(entry).map(({ heading, text, isFirst }) => {
      const title = isFirst && heading !== '' ? `\n  [ ${heading} ]\n` : ''
      return `${title}  * ${wrapped(text).join('\n    ')}\n`
    })
    const head = `${name} (${version}) ${distribution}; urgency=medium`
    return `${head}\n\n${lines.join('').replace(/^\n/, '')}\n -- ${release.maintainer}  ${date}\n`
  })
  return texts.join('\n')
}

/** In the form of a spec file. */
export function rpmChangelog(release: Release, entries: readonly Entry[]): string {
  const texts = entries.map((entry) => {
    const [weekday = '', day, month, year] = timeOf(entry, release).toUTCString().split(/,? /)
    const version = packageVersion(entry.version ?? release.version)
    const lines = grouped(entry).map(({ heading, text }) => {
      const words = heading === '' ? text : `${heading}: ${text}`
      return `- ${wrapped(words).join('\n  ')}\n`
    })
    const head = `* ${weekday} ${month} ${day} ${year} ${release.maintainer} - ${version}-1`
    return `${head}\n${lines.join('')}`
  })
  // rpm takes macros in a changelog for macros.
  return texts.join('\n').replaceAll('%', '%%')
}

function grouped({ changes }: Entry) {
  const all = changes.length === 0 ? [NOTHING] : changes
  return all.map((change, index) => ({
    ...change,
    isFirst: change.heading !== all[index - 1]?.heading,
  }))
}

/** Lines of up to 74 characters, which with their indent are what lintian allows. */
function wrapped(text: string): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    const longer = line === '' ? word : `${line} ${word}`
    if (longer.length <= 74 || line === '') lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines
}

function timeOf({ date }: Entry, { epoch }: Release): Date {
  return date === undefined ? new Date(epoch * 1000) : new Date(`${date}T00:00:00Z`)
}
