import { ADMIN_CALLS, type Observed } from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import { whyNoPlaces } from '../caller/socket-place.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import { asTable, userName } from './table.ts'
import type { Verb } from './verb.ts'
import { watch } from './watch.ts'

const EXIT_TOKENLESS = 3

const OPTIONS = {
  ...SOCKET_OPTIONS,
  json: { type: 'boolean' },
  watch: { type: 'boolean' },
} as const

export const observe: Verb = {
  summary: 'show who still reads the metadata service directly',
  help: `Usage: metabind observe [--json] [--watch]

Shows which users and units spoke to the metadata service directly since the
agent started, and how often without a token. They are seen while lockdown
observes: metabind lockdown on --observe. Exits with 0 where everybody sends
tokens, with ${EXIT_TOKENLESS} where somebody does not.

  --json               print the list as JSON
  --watch              show it again every two seconds, until interrupted, also
                       while no agent answers
${SOCKET_HELP}`,
  run: async (args) => {
    const { values } = parseVerb(args, OPTIONS, 0)
    const ask = () => readAdmin(socketsOf(values), ADMIN_CALLS.observed)
    if (values.watch) {
      return watch({
        title: 'metabind observe',
        asJson: values.json === true,
        shape: 'observe',
        ask,
        jsonOf: (rows) => ({ observed: rows }),
        pageOf: (rows) =>
          inWords(rows)
            .trimEnd()
            .split('\n')
            .map((text) => ({ text })),
      })
    }
    const rows = await ask()
    if (values.json) printAnswer('observe', { observed: rows })
    else print(inWords(rows))
    return rows.some(isTokenless) ? EXIT_TOKENLESS : 0
  },
}

function isTokenless(row: Observed): boolean {
  return row.readsWithoutToken > 0
}

function inWords(rows: readonly Observed[]): string {
  const cells = rows.map((row) => [
    row.uid === undefined ? '?' : userName(row.uid),
    row.unit ?? '-',
    String(row.readsWithoutToken),
    String(row.readsWithToken),
    row.lastSeen,
    row.lastPath,
  ])
  const table = asTable(['USER', 'UNIT', 'NO TOKEN', 'TOKEN', 'LAST SEEN', 'LAST PATH'], cells)
  const why = whyNoPlaces()
  return why === undefined
    ? table
    : `${table}Units cannot be seen, and lockdown would refuse all: ${why}\n`
}
