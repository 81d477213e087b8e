import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { linksIn } from '../harness/markdown-links.ts'

/** `page-links.ts FOLDER`: whether the links of all pages below it lead to what is there. */

const [folder = '.'] = process.argv.slice(2)
const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.md'),
)
const broken = pages.flatMap((page) =>
  linksIn(readFileSync(join(folder, page), 'utf8'))
    .filter(({ path }) => !existsSync(join(folder, dirname(page), path)))
    .map(({ path }) => `${page}: ${path} is not there`),
)
for (const sentence of broken) process.stderr.write(`${sentence}\n`)
process.exitCode = broken.length > 0 || pages.length === 0 ? 1 : 0
