import type { ServerResponse } from 'node:http'
import type { Snapshot } from '../admin-api.ts'
import { MetabindError } from '../errors.ts'
import { UI_HEADERS } from '../ui-paths.ts'

/** The streams of snapshots to those who look at the status page. */
export interface EventStreams {
  /** Sends the snapshot now, and again when it has changed. @throws MetabindError LIMIT_CONNECTIONS */
  open(response: ServerResponse): void
  /** Ends all of them: an ending agent waits for what is under way. */
  end(): void
  readonly count: number
}

export const STREAMS_MAX = 8
const TURN_MS = 1000
/** After so many turns without a change a comment says that the stream is alive. */
const QUIET_TURNS_MAX = 15

/**
 * Looks once a second whether anything has changed, and only while somebody reads. A reader that has not taken
 * the last one yet is left out, so that no more than one waits for anybody.
 */
export function eventStreams(snapshot: () => Snapshot): EventStreams {
  const open = new Map<ServerResponse, { sent: string; quietTurns: number }>()
  let timer: NodeJS.Timeout | undefined
  let hasEnded = false

  const send = (response: ServerResponse, { at, body }: Changed): void => {
    const last = open.get(response)
    if (last === undefined || response.writableNeedDrain) return
    if (last.sent !== body) {
      response.write(`data: {"at":${JSON.stringify(at)},${body.slice(1)}\n\n`)
      open.set(response, { sent: body, quietTurns: 0 })
    } else if (last.quietTurns >= QUIET_TURNS_MAX) {
      response.write(': nothing has changed\n\n')
      last.quietTurns = 0
    } else last.quietTurns += 1
  }
  const turn = (): void => {
    const now = changed(snapshot())
    for (const response of open.keys()) send(response, now)
  }
  const leave = (response: ServerResponse): void => {
    open.delete(response)
    if (open.size === 0) clearInterval(timer)
  }
  return {
    open: (response) => {
      if (hasEnded || open.size >= STREAMS_MAX) throw new MetabindError('LIMIT_CONNECTIONS')
      response.writeHead(200, { ...UI_HEADERS, 'content-type': 'text/event-stream; charset=utf-8' })
      response.once('close', () => leave(response))
      if (open.size === 0) timer = setInterval(turn, TURN_MS).unref()
      open.set(response, { sent: '', quietTurns: 0 })
      send(response, changed(snapshot()))
    },
    end: () => {
      hasEnded = true
      for (const response of open.keys()) response.end()
    },
    get count() {
      return open.size
    },
  }
}

/** What a change is seen by: everything but the time. */
interface Changed {
  readonly at: string
  readonly body: string
}

function changed({ at, ...rest }: Snapshot): Changed {
  return { at, body: JSON.stringify(rest) }
}
