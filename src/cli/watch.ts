import { setTimeout as sleep } from 'node:timers/promises'
import { ERRORS } from '../error-table.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { printAnswer } from './output.ts'
import { openScreen, type PageLine, type Screen } from './screen.ts'

const TURN_MS = 2000
/** An agent that is away, or starting again: it is waited for. */
const LOST: readonly ErrorCode[] = ['SOCKET_ABSENT', 'SOCKET_BROKEN', 'AGENT_NOT_READY']

/** What is looked at again and again. */
export interface Watched<Answer> {
  /** In front of the page, such as `metabind status`. */
  readonly title: string
  readonly asJson: boolean
  /** The shape of an answer as JSON, without its version. */
  readonly shape: string
  ask(): Promise<Answer>
  jsonOf(answer: Answer): object
  pageOf(answer: Answer): readonly PageLine[]
}

/**
 * Shows an answer of the agent every two seconds until a signal ends the process, also while no agent
 * answers. The terminal is left as it was.
 *
 * @throws MetabindError for what waiting does not mend
 */
export async function watch<Answer>(watched: Watched<Answer>): Promise<never> {
  const screen = openScreen()
  endOnSignals(screen)
  let lostSince: string | undefined
  try {
    for (;;) {
      try {
        const answer = await watched.ask()
        lostSince = undefined
        if (watched.asJson) printAnswer(watched.shape, watched.jsonOf(answer))
        else screen.draw([heading(watched), ...watched.pageOf(answer)])
      } catch (error) {
        if (!(error instanceof MetabindError) || !LOST.includes(error.code)) throw error
        lostSince ??= timeOfDay()
        if (watched.asJson) printAnswer('lost', { code: error.code, says: error.message })
        else screen.draw([heading(watched), ...lostPage(error, lostSince)])
      }
      await sleep(TURN_MS)
    }
  } finally {
    screen.leave()
  }
}

function heading<Answer>({ title }: Watched<Answer>): PageLine {
  return { text: `${title}, at ${timeOfDay()}; Ctrl-C ends`, tone: 'aside' }
}

function lostPage({ code, message }: MetabindError, since: string): PageLine[] {
  return [
    { text: `no agent answers, since ${since}; it is waited for`, tone: 'bad' },
    ...wrapped('', `${code}: ${message}`),
    ...wrapped('', ERRORS[code].remedy),
  ]
}

function timeOfDay(): string {
  return new Date().toTimeString().slice(0, 8)
}

/** The process ends as by the signal, so that a shell sees what it sees of any other command. */
function endOnSignals(screen: Screen): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.once(signal, () => {
      leaveQuietly(screen)
      process.kill(process.pid, signal)
    })
  }
  // Ctrl-Z: in the foreground again, the next turn draws.
  process.on('SIGTSTP', () => {
    leaveQuietly(screen)
    process.kill(process.pid, 'SIGSTOP')
  })
}

function leaveQuietly(screen: Screen): void {
  try {
    screen.leave()
  } catch {
    // The terminal is gone.
  }
}

const COLUMNS = 80

/** A text behind its name, in lines of 80 columns; those that follow stand below the first. */
export function wrapped(name: string, text: string, tone?: PageLine['tone']): PageLine[] {
  const width = COLUMNS - name.length
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`
    } else {
      // Longer than a line: a path, or what others have chosen.
      for (let at = 0; at === 0 || at < word.length; at += width) {
        lines.push(word.slice(at, at + width))
      }
    }
  }
  const blank = ' '.repeat(name.length)
  return lines.map((line, at) => ({
    text: `${at === 0 ? name : blank}${line}`,
    ...(tone === undefined ? {} : { tone }),
  }))
}
