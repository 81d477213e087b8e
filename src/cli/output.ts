import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { MetabindError, nodeErrorCode, systemReason } from '../errors.ts'
import { CONTROL, oneLine, shownCharacter } from '../format/one-line.ts'

/**
 * All that the command line prints goes through here. Much of it was chosen by others: by a server
 * that claims to be the agent, by callers, by the names of files. None of it speaks to the terminal.
 */

const STDOUT = 1
const STDERR = 2
const WAIT_MS = 10

/** Whoever reads standard output has closed it: they have seen enough, and nothing is wrong. */
export class ClosedOutput extends Error {
  override readonly name = 'ClosedOutput'
}

/** Prints text on standard output; of control characters only line ends and tabs stay. */
export function print(text: string): void {
  write(STDOUT, inLines(text))
}

/** Prints a value as one line of JSON. */
export function printJson(value: unknown): void {
  write(STDOUT, `${jsonLine(value)}\n`)
}

/**
 * Prints what a verb has to say as one line of JSON, with the name and version of its shape in front.
 * docs/cli.md lists the members of each; another meaning of a member is another version.
 */
export function printAnswer(shape: string, value: object): void {
  printJson({ schema: `metabind.${shape}/1`, ...value })
}

/** A value as JSON in which control characters are escaped: the same value, and safe to look at. */
function jsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(CONTROL, (character) =>
    character.split('').map(jsonEscape).join(''),
  )
}

/** @param unit of UTF-16 */
function jsonEscape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Prints bytes as they are, but on a terminal as text that does nothing to it. */
export function printBytes(bytes: Buffer): void {
  if (isTerminal()) print(`${bytes.toString('utf8').replace(/\n$/, '')}\n`)
  else write(STDOUT, bytes)
}

/** Writes what moves and colours on a terminal: made here, with nothing in it that others have chosen. */
export function writeToTerminal(sequence: string): void {
  write(STDOUT, sequence)
}

/** @returns as many as terminals have had, if this one does not say */
export function terminalSize(): { readonly columns: number; readonly rows: number } {
  const { columns, rows } = process.stdout
  return { columns: columns || 80, rows: rows || 24 }
}

/** One line on standard error. If that cannot be written either there is nobody to tell. */
export function complain(line: string): void {
  try {
    write(STDERR, `metabind: ${oneLine(line)}\n`)
  } catch {
    // The exit code says it.
  }
}

export function isTerminal(): boolean {
  return isatty(STDOUT)
}

function inLines(text: string): string {
  return text.replaceAll(CONTROL, (character) =>
    character === '\n' || character === '\t' ? character : shownCharacter(character),
  )
}

/**
 * Not by process.stdout: it reports a full disk or a closed pipe when the verb has ended, and sets
 * pipes to not blocking, for other processes that hold them too.
 */
function write(descriptor: number, content: string | Buffer): void {
  let rest = Buffer.from(content)
  while (rest.length > 0) rest = rest.subarray(writeSome(descriptor, rest))
}

function writeSome(descriptor: number, bytes: Buffer): number {
  try {
    return writeSync(descriptor, bytes)
  } catch (error) {
    const errno = nodeErrorCode(error)
    if (errno === 'EPIPE') throw new ClosedOutput()
    if (errno !== 'EAGAIN')
      throw new MetabindError('FILE_NOT_WRITTEN', `(${systemReason(error)})`, error)
    // Another process has set the pipe to not blocking, and it is full.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS)
    return 0
  }
}
