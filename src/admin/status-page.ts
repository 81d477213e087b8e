import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Explanation, Snapshot } from '../admin-api.ts'
import { MetabindError } from '../errors.ts'
import { explainFor } from '../policy/explain.ts'
import type { Policy } from '../policy/policy.ts'
import type { Readers } from '../policy/readers.ts'
import { UI_HEADERS, UI_PATHS } from '../ui-paths.ts'
import type { EventStreams } from './event-stream.ts'
import { type PageFiles, pageFiles } from './page-files.ts'

/** What the status page is made of. */
export interface StatusPageDeps {
  readonly snapshot: () => Snapshot
  readonly streams: EventStreams
  /** The policy in force. */
  readonly policy: () => Policy
  readonly readers: Readers
}

const HTML = 'text/html; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'
const STYLE = 'text/css; charset=utf-8'

/** The status page on the admin socket, for `metabind ui`. The page and its two files are the same for everybody. */
export function serveStatusPage(app: FastifyInstance, deps: StatusPageDeps): void {
  let files: Promise<PageFiles> | undefined
  const serve = (path: string, type: string, part: 'html' | 'script' | 'style') =>
    app.get(path, async (_request, reply) => {
      files ??= pageFiles()
      return reply.headers({ ...UI_HEADERS, 'content-type': type }).send((await files)[part])
    })
  serve(UI_PATHS.page, HTML, 'html')
  serve(UI_PATHS.script, SCRIPT, 'script')
  serve(UI_PATHS.style, STYLE, 'style')
  app.get(UI_PATHS.events, (_request, reply) => openStream(deps.streams, reply))
  app.get<{ Params: { reader: string } }>(`${UI_PATHS.explain}:reader`, (request, reply) =>
    reply.headers(UI_HEADERS).send(explainReader(deps, request.params.reader)),
  )
}

function openStream(streams: EventStreams, reply: FastifyReply): void {
  streams.open(reply.raw)
  reply.hijack()
}

/** As `metabind explain` would, of the last caller and path of a row. @throws MetabindError ADMIN_ABSENT */
function explainReader({ policy, readers }: StatusPageDeps, id: string): Explanation {
  const row = readers.rows().find((one) => String(one.id) === id)
  if (row === undefined) throw new MetabindError('ADMIN_ABSENT')
  return explainFor(policy(), row.caller, row.path)
}
