import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** Links of the documents lead somewhere, and the files that they name are there. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const pagesIn = (folder: string) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))
// Not packaging/npm/README.md: it links to the docs that are packed beside it.
const PAGES = ['.', 'docs', 'native/tpm2-js', 'native/linux'].flatMap(pagesIn)
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8')

interface Link {
  readonly page: string
  readonly anchor: string | undefined
}

/** Where the links of a page lead within the project. */
function linksOf(page: string): Link[] {
  return [...textOf(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].map(
    ([, path = '', anchor]) => ({
      page: path === '' ? page : normalize(join(dirname(page), path)),
      anchor,
    }),
  )
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

test.each(PAGES)('the links of %s lead somewhere', (page) => {
  for (const link of linksOf(page)) {
    expect(existsSync(join(ROOT, link.page)), link.page).toBe(true)
    if (link.anchor !== undefined) expect(anchorsOf(link.page)).toContain(link.anchor)
  }
})

test.each(PAGES)('the sources and tests that %s names are there', (page) => {
  const named = textOf(page).matchAll(/`((?:src|native|test|packaging|systemd|bench)\/[\w./-]+)`/g)
  const isThere = (path: string) =>
    [ROOT, join(ROOT, dirname(page))].some((from) => existsSync(join(from, path)))
  expect([...named].map(([, path = '']) => path).filter((path) => !isThere(path))).toEqual([])
})

test('README.md leads to every page of docs/', () => {
  const pages = PAGES.filter((page) => page.startsWith('docs/'))
  const linked = linksOf('README.md').map(({ page }) => page)
  expect(pages).toContain('docs/install.md')
  expect(pages.filter((page) => !linked.includes(page))).toEqual([])
})
