import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { DOCUMENTS } from '../../packaging/documents.ts'
import { linksIn } from '../harness/markdown-links.ts'

/** Links of the documents lead somewhere, and the files that they name are there. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const pagesIn = (folder: string) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))
const FOLDERS = [
  ...['.', '.github', 'docs', 'native/tpm2-js', 'native/linux', 'native/pkcs11'],
  ...['packaging/npm', 'packaging/licences'],
]
const PAGES = FOLDERS.flatMap(pagesIn)
// Its links are to the docs that are packed beside it.
const ELSEWHERE: Readonly<Record<string, string>> = { 'packaging/npm/README.md': 'README.md' }
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8')

interface Link {
  readonly page: string
  readonly anchor: string | undefined
}

/** Where the links and pictures of a page lead within the project. */
function linksOf(page: string): Link[] {
  const from = dirname(ELSEWHERE[page] ?? page)
  return linksIn(textOf(page)).map(({ path, anchor }) => ({
    page: path === '' ? page : normalize(join(from, path)),
    anchor,
  }))
}

/** The anchors of a page's headings, as GitHub makes them: of those that are alike, the later ones have a number. */
function anchorsOf(page: string): string[] {
  const text = textOf(page).replace(/^( *)```[\s\S]*?^\1```$/gm, '')
  const seen = new Map<string, number>()
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-')
    const before = seen.get(anchor) ?? 0
    seen.set(anchor, before + 1)
    return before === 0 ? anchor : `${anchor}-${before}`
  })
}

test.skipIf(!existsSync(join(ROOT, '.git')))(
  'every markdown file of the project is looked at',
  () => {
    const tracked = execFileSync('git', ['ls-files', '*.md'], { cwd: ROOT, encoding: 'utf8' })
    expect(tracked.split('\n').filter((page) => page !== '' && !PAGES.includes(page))).toEqual([])
  },
)

test.each(PAGES)('the links of %s lead somewhere', (page) => {
  for (const link of linksOf(page)) {
    expect(existsSync(join(ROOT, link.page)), link.page).toBe(true)
    if (link.anchor !== undefined) expect(anchorsOf(link.page)).toContain(link.anchor)
  }
})

test('the pages of a package lead to pages that are in it', () => {
  const packed = [...DOCUMENTS, ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)]
  const pages = packed.filter((page) => page.endsWith('.md'))
  const led = pages.flatMap((page) => linksOf(page).map((link) => `${page}: ${link.page}`))
  expect(led.filter((link) => !packed.includes(link.replace(/^.*: /, '')))).toEqual([])
})

test.each(PAGES)('the sources and tests that %s names are there', (page) => {
  const named = textOf(page).matchAll(/`((?:src|native|test|packaging|systemd|bench)\/[\w./-]+)`/g)
  const isThere = (path: string) =>
    [ROOT, join(ROOT, dirname(page))].some((from) => existsSync(join(from, path)))
  expect([...named].map(([, path = '']) => path).filter((path) => !isThere(path))).toEqual([])
})

test('docs/README.md leads to every page of docs/, and README.md to it', () => {
  const pages = PAGES.filter((page) => page.startsWith('docs/') && page !== 'docs/README.md')
  const linked = linksOf('docs/README.md').map(({ page }) => page)
  expect(pages).toContain('docs/install.md')
  expect(pages.filter((page) => !linked.includes(page))).toEqual([])
  expect(linksOf('README.md').map(({ page }) => page)).toContain('docs/README.md')
})
