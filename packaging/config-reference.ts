/** One key of docs/configuration.md, which a test holds against the schema. */
export interface ConfigKey {
  readonly section: string
  readonly key: string
  /** As it stands in the file; undefined if a sentence stands in its place. */
  readonly value: string | undefined
  readonly words: string
  readonly bounds: string
  readonly meaning: string
}

const SECTION = /^## (\w+)$/
// Bounds and meanings have no unescaped bar in them.
const ROW = /^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$/

export function configKeys(page: string): ConfigKey[] {
  const keys: ConfigKey[] = []
  let section = ''
  for (const line of page.split('\n')) {
    section = SECTION.exec(line)?.[1] ?? section
    const [, key, words = '', bounds = '', meaning = ''] = ROW.exec(line) ?? []
    if (key === undefined) continue
    const value = /^`(.+)`$/.exec(words)?.[1]
    keys.push({ section, key, value, words, bounds: plain(bounds), meaning: plain(meaning) })
  }
  return keys
}

/** The reference that is installed beside the programs: every key, commented out, with its default. */
export function configReference(page: string, version: string): string {
  const lines = [
    `# All keys that metabind ${version} knows in /etc/metabind/metabind.toml; see metabind.toml(5).`,
    '# Every key is optional. The values shown are the defaults. The agent does not read this file, and',
    '# the next version replaces it.',
  ]
  let section = ''
  for (const { section: at, key, value, words, bounds, meaning } of configKeys(page)) {
    if (at !== section) lines.push('', `[${at}]`)
    section = at
    lines.push(`# ${meaning} (${bounds})`)
    lines.push(value === undefined ? `#${key} =    # ${plain(words)}` : `#${key} = ${value}`)
  }
  return `${lines.join('\n')}\n`
}

function plain(markdown: string): string {
  return markdown.replaceAll('`', '')
}
