import { z } from 'zod'

const STATUSES = ['Killed', 'Survived', 'NoCoverage', 'Timeout', 'RuntimeError', 'Ignored'] as const

const position = z.object({ line: z.int(), column: z.int() })
const schema = z.object({
  files: z.record(
    z.string(),
    z.object({
      source: z.string(),
      mutants: z.array(
        z.object({
          location: z.object({ start: position, end: position }),
          mutatorName: z.string(),
          replacement: z.string().optional(),
          status: z.enum(STATUSES),
        }),
      ),
    }),
  ),
})

/** A change of one place of a source, and what became of it. */
export interface Mutant {
  readonly file: string
  readonly lineNumber: number
  /** The source line that it begins on, without the spaces around it. */
  readonly line: string
  /** What is replaced and what by, each on one line. */
  readonly from: string
  readonly to: string
  readonly status: (typeof STATUSES)[number]
}

/** @param report what Stryker's reporter `json` writes. @throws Error if it is something else */
export function mutantsOf(report: unknown): Mutant[] {
  return Object.entries(schema.parse(report).files).flatMap(([file, { source, mutants }]) => {
    const lines = source.split('\n')
    return mutants.map(({ location: { start, end }, replacement = '', status }) => ({
      file,
      lineNumber: start.line,
      line: (lines[start.line - 1] ?? '').trim(),
      from: onOneLine(between(lines, start, end)),
      to: onOneLine(replacement),
      status,
    }))
  })
}

type Position = z.infer<typeof position>

/** Both count from 1. */
function between(lines: readonly string[], start: Position, end: Position): string {
  const part = lines.slice(start.line - 1, end.line)
  const last = part.length - 1
  part[last] = (part[last] ?? '').slice(0, end.column - 1)
  part[0] = (part[0] ?? '').slice(start.column - 1)
  return part.join('\n')
}

function onOneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}
