import { chmodSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MetabindError } from '../errors.ts'
import { writeWholeFile } from '../storage/whole-file.ts'

/**
 * Writes files that others may read, each whole or not at all, and those alone whose content is another.
 *
 * @param files by path below the directory, with what they hold: text as it is, and else JSON
 * @throws MetabindError FILE_UNUSABLE
 */
export function writeStaticFiles(
  directory: string,
  files: Readonly<Record<string, object | string>>,
): void {
  for (const [path, content] of Object.entries(files)) {
    const text =
      typeof content === 'string' ? content : `${JSON.stringify(content, undefined, 2)}\n`
    writeStatic(join(directory, path), text)
  }
}

function writeStatic(path: string, text: string): void {
  try {
    if (contentOf(path) === text) return
    makeDirectory(dirname(path))
    writeWholeFile(path, Buffer.from(text), 0o644, (temporary) => {
      // Whatever the umask of the process is: they are for others.
      chmodSync(temporary, 0o644)
      renameSync(temporary, path)
    })
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', path, error)
  }
}

function makeDirectory(path: string): void {
  if (mkdirSync(path, { recursive: true }) !== undefined) chmodSync(path, 0o755)
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
