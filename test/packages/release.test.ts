import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  debianChangelog,
  entriesOf,
  parseChangelog,
  rpmChangelog,
} from '../../packaging/changelog.ts'
import { packageVersion, readRelease } from '../../packaging/release.ts'

const MARKDOWN = `# Changelog

Words.

## Unreleased

### Added

#### Packaging

- One thing,
  on two lines.
- Another of 100%.

## 1.0.0 - 2026-02-03

### Fixed

- A fault.

## 1.0.0-rc.2 - 2026-01-02

### Added

- The beginning.
`

describe('versions', () => {
  const ordered = [
    '1.0.0-alpha.9',
    '1.0.0-beta.1',
    '1.0.0-rc.2',
    '1.0.0-rc.10',
    '1.0.0',
    '1.0.1-rc.1',
  ]

  test('of pre-releases sort before their release, for dpkg', () => {
    for (const [index, later] of ordered.slice(1).entries()) {
      const earlier = `${packageVersion(ordered[index] ?? '')}-1`
      const args = ['--compare-versions', earlier, 'lt', `${packageVersion(later)}-1`]
      execFileSync('dpkg', args)
    }
  })

  test.each(['1.0', '1.0.0-1', '1.0.0-RC.1', '1.0.0-rc1', '1.0.0-al.1', '1.0.0+1', 'v1.0.0'])(
    '%s, which package managers would not sort alike, is refused',
    (version) => expect(() => packageVersion(version)).toThrow('is no version'),
  )
})

describe('changelogs', () => {
  const release = { ...readRelease('1.0.1'), epoch: 1_767_312_000 }

  test('have what is not released as the version that is packaged, then all releases', () => {
    const entries = entriesOf('1.0.1', MARKDOWN)
    expect(entries.map(({ version }) => version)).toEqual([undefined, '1.0.0', '1.0.0-rc.2'])
    expect(rpmChangelog(release, entries)).toBe(`* Fri Jan 02 2026 ${release.maintainer} - 1.0.1-1
- Added: Packaging: One thing, on two lines.
- Added: Packaging: Another of 100%%.

* Tue Feb 03 2026 ${release.maintainer} - 1.0.0-1
- Fixed: A fault.

* Fri Jan 02 2026 ${release.maintainer} - 1.0.0~rc.2-1
- Added: The beginning.
`)
  })

  test('begin with the version that is packaged', () => {
    const entries = entriesOf('1.0.0', MARKDOWN)
    expect(entries.map(({ version }) => version)).toEqual(['1.0.0', '1.0.0-rc.2'])
  })

  test('have the form of Debian', () => {
    const text = debianChangelog(release, entriesOf('1.0.1', MARKDOWN))
    expect(text).toContain(`metabind (1.0.1-1) UNRELEASED; urgency=medium

  [ Added: Packaging ]
  * One thing, on two lines.
  * Another of 100%.

 -- ${release.maintainer}  Fri, 02 Jan 2026 00:00:00 +0000

metabind (1.0.0-1) unstable; urgency=medium
`)
  })

  test('of this project can be read, and say something', () => {
    const text = readFileSync(new URL('../../CHANGELOG.md', import.meta.url), 'utf8')
    const changes = parseChangelog(text).flatMap((entry) => entry.changes)
    expect(changes.length).toBeGreaterThan(0)
    for (const change of changes) expect(change.text).not.toBe('')
  })
})
