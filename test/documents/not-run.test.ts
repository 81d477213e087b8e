import { expect, test } from 'vitest'
import { blocksOf, isTyped, PAGES, textOf } from '../pages/block.ts'

/** Which console blocks no test runs: a number for each page, so that none is left out unseen. */

const NOT_RUN: Readonly<Record<string, number>> = {
  'README.md': 3,
  'CONTRIBUTING.md': 1,
  'docs/audit.md': 1,
  'docs/federation.md': 1,
  'docs/fleet-events.md': 2,
  'docs/fleet-operations.md': 7,
  'docs/how-to.md': 4,
  'docs/incident.md': 3,
  'docs/install.md': 3,
  'docs/lockdown.md': 3,
  'docs/metrics.md': 2,
  'docs/migration.md': 3,
  'docs/sdks.md': 2,
  'docs/selinux.md': 4,
  'docs/ui.md': 1,
  'docs/verify.md': 8,
}

const BLOCKS = PAGES.flatMap((page) => blocksOf(page).map((block) => ({ page, ...block })))

test('console blocks that are not run are these, and say why', () => {
  const left = BLOCKS.filter((block) => isTyped(block) && block.mark.kind === 'not run')
  const counts = Object.entries(Object.groupBy(left, ({ page }) => page))
  expect(Object.fromEntries(counts.map(([page, blocks]) => [page, blocks?.length]))).toEqual(
    NOT_RUN,
  )
})

test('what is typed into a shell says so', () => {
  const others = BLOCKS.filter(({ language }) => language === '')
  const typed = others.filter(({ lines }) =>
    /^(?:[$#] |(?:sudo|metabind|\.\/dev|curl) )/.test(lines[0] ?? ''),
  )
  expect(typed.map(({ place }) => place)).toEqual([])
})

test('every block has fences', () => {
  for (const page of PAGES) {
    const outside = textOf(page).replace(/^( *)```[\s\S]*?^\1```$/gm, '')
    expect(/\n\n {4}\S.*/.exec(outside)?.[0], page).toBeUndefined()
  }
})

test('another shell than sh is named by none', () => {
  const named = BLOCKS.filter(({ language }) => /^(?:bash|shell|zsh|fish|text)$/.test(language))
  expect(named.map(({ place }) => place)).toEqual([])
})
