import { fstatSync } from 'node:fs'
import { pino } from 'pino'
import { OWNER, type Owner, type Shares, shares } from './shares.ts'

/** What the agent logs with. Records are JSON lines on standard output, for the journal. */
export type Log = pino.Logger<'notice'>

type Output = ReturnType<typeof pino.destination>

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

// syslog(3): what journald makes of `<N>` before a line (sd-daemon(3)), by pino's number of the level.
const PRIORITIES: Readonly<Record<number, number>> = { 50: 3, 40: 4, 35: 5, 30: 6, 20: 7 }
const PRIORITY_INFO = 6
/** Normal, but worth noticing: audit records of what was allowed. Between pino's info and warn. */
const NOTICE = 35
/** When the journal does not read, so much waits; what comes then is dropped, and the agent goes on. */
export const LOG_WAITING_BYTES_MAX = 4_194_304
/** Lines that are no audit records. */
const OTHER_LINES: Owner = 'other lines'
const CLOSE_MS_MAX = 1000

/**
 * The agent's log. Nothing secret is ever handed to it (tokens and keys are Secret values); the
 * redaction below is a second net under that.
 *
 * @param onDropped told of each line that was lost because nobody reads standard output
 */
export function openLog(level: LogLevel, onDropped: () => void = () => undefined): Log {
  // Written in the background, so that a slow reader of the log slows no request.
  const output = pino.destination({ dest: 1, sync: false })
  // A full disk ends no agent: what was not written is tried again with the next line.
  output.on('error', () => undefined)
  const log = pino(
    {
      level,
      customLevels: { notice: NOTICE },
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: ['token', '*.token', 'authorization', '*.authorization', 'body', '*.body'],
        censor: '[secret]',
      },
    },
    shared(output, onDropped),
  )
  outputs.set(log, output)
  return log
}

/** Where each log is written to, to be ended with it. */
const outputs = new WeakMap<Log, Output>()

/** Resolves when all that was logged is written, or a second has passed: nobody may be reading. */
export function closeLog(log: Log): Promise<void> {
  return new Promise((resolve) => {
    // Not unref'd: Node would run out of things to wait for, and pino then tries a full disk for ever.
    setTimeout(resolve, CLOSE_MS_MAX)
    const output = outputs.get(log)
    // Its flush() does not wait for what is being written; its end() does.
    output?.once('finish', () => resolve())
    output?.end()
  })
}

/** The same, its buffer shared among those whose lines wait, and each line's priority before it if the journal reads. */
function shared(output: Output, onDropped: () => void): pino.DestinationStream {
  const room = waitingRoom(output)
  const toJournal = isJournal(1)
  // pino sets the two before each write of a destination that carries this symbol.
  return {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    lastObj: {},
    write(text: string) {
      const line = toJournal ? `<${PRIORITIES[this.lastLevel] ?? PRIORITY_INFO}>${text}` : text
      const owner = this.lastObj[OWNER] ?? OTHER_LINES
      if (room(owner, Buffer.byteLength(line))) output.write(line)
      else onDropped()
    },
  } as pino.DestinationStream & { lastLevel: number; lastObj: { [OWNER]?: Owner } }
}

/** Whose bytes wait, in their order: what was written is given back to whose it was. */
function waitingRoom(output: Output): Shares['take'] {
  const room = shares(LOG_WAITING_BYTES_MAX)
  const waiting: { readonly owner: Owner; bytes: number }[] = []
  output.on('write', (written: number) => {
    for (let left = written, first = waiting[0]; left > 0 && first; first = waiting[0]) {
      const bytes = Math.min(left, first.bytes)
      room.giveBack(first.owner, bytes)
      left -= bytes
      first.bytes -= bytes
      if (first.bytes === 0) waiting.shift()
    }
  })
  return (owner, bytes) => {
    if (!room.take(owner, bytes)) return false
    const last = waiting.at(-1)
    if (last?.owner === owner) last.bytes += bytes
    else waiting.push({ owner, bytes })
    return true
  }
}

/** Whether a descriptor leads to the journal: $JOURNAL_STREAM names its device and inode (systemd.exec(5)). */
function isJournal(descriptor: number): boolean {
  const stat = fstatSync(descriptor)
  return process.env.JOURNAL_STREAM === `${stat.dev}:${stat.ino}`
}
