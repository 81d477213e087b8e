import { writeFileSync } from 'node:fs'
import { ERRORS, type ErrorEntry } from '../../src/error-table.ts'

/** Where the page of errors is. `./dev fix` runs this file and so writes it anew from the table. */
export const ERRORS_PAGE = new URL('../../docs/errors.md', import.meta.url)

const HEAD = `# Errors

Every failure has a code. A refused caller gets the HTTP status and one line, \`CODE: sentence\`; the
command line adds the remedy; the log of the agent has the cause. Programs compare the code. A dialect
may use another status if its cloud does.

| Code | Status | Sentence | What to do |
|---|---|---|---|
`

/** docs/errors.md as the table of src/error-table.ts says it. */
export function errorsPage(): string {
  const rows = Object.entries<ErrorEntry>(ERRORS).map(([code, entry]) => {
    const outside = entry.says === undefined ? '' : ` (callers are told \`${entry.says}\`)`
    return `| \`${code}\` | ${entry.status} | ${entry.sentence}${outside} | ${entry.remedy} |\n`
  })
  return HEAD + rows.join('')
}

if (import.meta.main) writeFileSync(ERRORS_PAGE, errorsPage())
