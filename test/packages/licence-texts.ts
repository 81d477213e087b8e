import { readFileSync } from 'node:fs'

/** `licence-texts.ts SBOM COPYRIGHT`: whether each component of a package's SBOM has the words of its licence there. */

interface Component {
  readonly name: string
  readonly version: string
  readonly purl: string
  readonly licenses: readonly { readonly expression: string }[]
}

const RULE = `${'-'.repeat(78)}\n`
// The shortest, SQLite's, has 400.
const WORDS_MIN = 300

/** The components whose licence has no words in the text, or is another one there. */
export function withoutWords(sbom: string, copyright: string): string[] {
  const sections = copyright.split(RULE).map((section) => section.split('\n'))
  const document: { components: Component[] } = JSON.parse(sbom)
  return document.components.flatMap(({ name, version, purl, licenses }) => {
    // Node is there under the name of its npm package.
    const called = decodeURIComponent(/^pkg:npm\/(.+)@/.exec(purl)?.[1] ?? name)
    const title = `${called} ${version}: ${licenses[0]?.expression}`
    const [, ...lines] = sections.find(([first]) => first === title) ?? []
    return hasWords(lines.join('\n'), copyright) ? [] : [title]
  })
}

function hasWords(text: string, copyright: string): boolean {
  const [, heading] = /under "(.+)"\.$/.exec(text.trim()) ?? []
  if (heading === undefined) return text.length >= WORDS_MIN
  const lines = copyright.toLowerCase().split('\n')
  const at = lines.findIndex(
    (line) =>
      line.replace(/^[ -]*/, '').replace(/,? (located|is licensed).*/, '') ===
      heading.toLowerCase(),
  )
  return at >= 0 && lines.slice(at + 1).join('\n').length >= WORDS_MIN
}

const [sbom, copyright] = process.argv.slice(2)
if (import.meta.main && sbom !== undefined && copyright !== undefined) {
  const missing = withoutWords(readFileSync(sbom, 'utf8'), readFileSync(copyright, 'utf8'))
  for (const title of missing) process.stderr.write(`no words of the licence of ${title}\n`)
  process.exitCode = missing.length > 0 ? 1 : 0
}
