import { readFileSync } from 'node:fs'
import { oneLine } from '../format/one-line.ts'

/**
 * Columns as wide as their widest cell, two blanks apart. Cells hold what others have chosen, such as
 * the name of a file that they run: it draws no rows of its own and speaks to no terminal.
 */
export function asTable(head: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(oneLine))
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return [head, ...rows].map((row) => `${line(row)}\n`).join('')
}

/** A name and a value a line; rows without a value are left out. */
export function asRows(
  rows: readonly (readonly [string, string | undefined])[],
  valueColumn: number,
): string {
  return rows
    .filter((row): row is readonly [string, string] => row[1] !== undefined)
    .map(([name, value]) => `${name.padEnd(valueColumn)}${oneLine(value)}\n`)
    .join('')
}

/** The name of a uid in /etc/passwd, else the number. */
export function userName(uid: number): string {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.split(':')[2] === String(uid))
  return line?.split(':')[0] ?? String(uid)
}
