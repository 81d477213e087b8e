import { oneLine } from '../format/one-line.ts'
import { isTerminal, print, terminalSize, writeToTerminal } from './output.ts'

/** How a line of a page is meant: as it should be, in between, as it should not be, or beside the point. */
export type Tone = 'good' | 'fair' | 'bad' | 'aside'

export interface PageLine {
  readonly text: string
  readonly tone?: Tone
}

/** Where a page is drawn anew again and again. */
export interface Screen {
  draw(lines: readonly PageLine[]): void
  /** Leaves the terminal as it was found. */
  leave(): void
}

// ECMA-48: select graphic rendition.
const COLOURS: Readonly<Record<Tone, string>> = {
  good: '\x1b[32m',
  fair: '\x1b[33m',
  bad: '\x1b[1;31m',
  aside: '\x1b[2m',
}
const PLAIN = '\x1b[0m'
// xterm's other screen, which leaves what was there before; and the cursor.
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = `${PLAIN}\x1b[?25h\x1b[?1049l`
const HOME = '\x1b[H'
const TO_END_OF_LINE = '\x1b[K'
const TO_END = '\x1b[J'

/** A terminal that can be drawn on; else pages come one after the other, each when it is another one. */
export function openScreen(): Screen {
  const { TERM = 'dumb', NO_COLOR = '' } = process.env
  if (!isTerminal() || TERM === 'dumb' || TERM === '') return pages()
  return terminal(NO_COLOR === '')
}

function pages(): Screen {
  let last = ''
  return {
    draw: (lines) => {
      const page = lines
        .filter(({ tone }) => tone !== 'aside')
        .map(({ text }) => `${text}\n`)
        .join('')
      if (page !== last) print(last === '' ? page : `\n${page}`)
      last = page
    },
    leave: () => undefined,
  }
}

function terminal(hasColour: boolean): Screen {
  let isEntered = false
  return {
    draw: (lines) => {
      const { columns, rows } = terminalSize()
      const shown = lines.length < rows ? lines : lines.slice(0, rows - 2)
      const more = lines.length - shown.length
      const all = more === 0 ? shown : [...shown, { text: `… ${more} more lines` }]
      const drawn = all.map((line) => `${drawnLine(line, columns, hasColour)}${TO_END_OF_LINE}\n`)
      writeToTerminal(`${isEntered ? '' : ENTER}${HOME}${drawn.join('')}${TO_END}`)
      isEntered = true
    },
    leave: () => {
      if (isEntered) writeToTerminal(LEAVE)
      isEntered = false
    },
  }
}

/** Cut to the width of the screen: a line that goes on in the next would move what is below. */
function drawnLine({ text, tone }: PageLine, columns: number, hasColour: boolean): string {
  const cut = oneLine(text).slice(0, columns)
  return tone === undefined || !hasColour ? cut : `${COLOURS[tone]}${cut}${PLAIN}`
}
