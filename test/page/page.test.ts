import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { pageFiles } from '../../src/admin/page-files.ts'

/** What can be said of the status page without a browser. */

const FOLDER = fileURLToPath(new URL('../../src/page/', import.meta.url))
const MAIN = readFileSync(new URL('../../src/page/main.ts', import.meta.url), 'utf8')

test('everything of the page is in its three files', async () => {
  const { html, script, style } = await pageFiles()
  expect(MAIN).toContain('render(')
  expect(html.match(/(?:src|href)="[^"]*"/g)).toEqual(['href="/ui/page.css"', 'src="/ui/page.js"'])
  expect(style).not.toMatch(/url\(|@import|@font-face/)
  // The names of SVG and MathML are no addresses.
  const addresses = [...script.matchAll(/https?:\/\/[\w./]*/g)].map(([address]) => address)
  expect(addresses.filter((address) => !address.startsWith('http://www.w3.org/'))).toEqual([])
  expect(script.length + style.length).toBeLessThan(48 * 1024)
})

test('no text becomes markup, and no markup has a style or a script of its own', () => {
  const sources = readdirSync(FOLDER).filter((name) => name.endsWith('.ts'))
  for (const name of sources) {
    const text = readFileSync(`${FOLDER}${name}`, 'utf8')
    expect(text, name).not.toMatch(
      /innerHTML|dangerouslySet|outerHTML|document\.write|\beval\b|style:/,
    )
  }
  expect(readFileSync(`${FOLDER}page.html`, 'utf8')).not.toMatch(
    /\sstyle=|\son\w+=|<script>|<style/,
  )
})

test('its pictures in docs/ are small', () => {
  for (const scheme of ['light', 'dark']) {
    const { length } = readFileSync(new URL(`../../docs/ui-${scheme}.png`, import.meta.url))
    expect(length).toBeLessThan(150_000)
  }
})
