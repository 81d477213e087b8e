import { setTimeout as sleep } from 'node:timers/promises'
import { MetabindError, UsageError } from '../errors.ts'
import { durationSeconds } from '../format/duration.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import { type PageAccess, pageAccess } from './ui-access.ts'
import { startUiServer } from './ui-server.ts'
import type { Verb } from './verb.ts'

const OPTIONS = {
  ...SOCKET_OPTIONS,
  port: { type: 'string' },
  expires: { type: 'string' },
  for: { type: 'string' },
  json: { type: 'boolean' },
} as const

const LINK_SECONDS_MAX = 3600
const PAGE_SECONDS_MAX = 12 * 3600
const LOOK_MS = 1000

export const ui: Verb = {
  summary: 'show all of it on a page in a browser',
  help: `Usage: metabind ui [--port N] [--expires DURATION] [--for DURATION] [--json]

Serves the agent's status page on 127.0.0.1 and prints a link to it, which works
once. The page shows and changes nothing; that an alarm was seen is recorded.
Ends with Ctrl-C, when its time is over, or when nobody opens the link in time.

  --port N             the port; any that is free if left out
  --expires DURATION   how long the link can be opened (10m)
  --for DURATION       how long the page can be read (1h)
  --json               print the link as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const { values } = parseVerb(args, OPTIONS, 0)
    const port = portOf(values.port ?? '0')
    const linkSeconds = durationSeconds('--expires', values.expires ?? '10m', LINK_SECONDS_MAX)
    const pageSeconds = durationSeconds('--for', values.for ?? '1h', PAGE_SECONDS_MAX)
    const access = pageAccess(linkSeconds, () => performance.now())
    const sockets = socketsOf(values)
    const server = await startUiServer({ sockets, access, port, pageSeconds })
    const over = new AbortController()
    try {
      const ended = endOf(access, pageSeconds, over)
      const told = linkAsTold(server.url, linkSeconds, pageSeconds)
      if (values.json) printAnswer('ui', told)
      else print(inWords(told))
      await Promise.race([ended, server.stolen])
    } finally {
      over.abort()
      server.close()
    }
    return 0
  },
}

function portOf(text: string): number {
  const port = Number(text)
  if (/^[0-9]{1,5}$/.test(text) && port <= 65_535) return port
  throw new UsageError(`--port takes a number from 0 to 65535, not '${text}'`)
}

function linkAsTold(url: string, linkSeconds: number, pageSeconds: number) {
  const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString()
  return { url, linkEnds: inSeconds(linkSeconds), pageEnds: inSeconds(pageSeconds) }
}

function inWords({ url, linkEnds, pageEnds }: ReturnType<typeof linkAsTold>): string {
  return `${url}
The link works once, until ${linkEnds}.
The page ends with Ctrl-C, or at ${pageEnds}.
`
}

/** Resolves when the time is over, or a signal comes. @throws MetabindError UI_LINK if nobody opens the link in time */
async function endOf(
  access: PageAccess,
  pageSeconds: number,
  over: AbortController,
): Promise<void> {
  const { signal } = over
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => over.abort())
  const endsAtMs = performance.now() + pageSeconds * 1000
  while (!signal.aborted && performance.now() < endsAtMs) {
    if (access.hasExpired()) throw new MetabindError('UI_LINK', 'Nobody opened it in time.')
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
  }
}
