import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const MARK = '# @foreign@\n'

/** A script that starts a program of the package, with the function `foreign` that all of them have. */
export function readWrapper(root: string, path: string): string {
  const read = (name: string) => readFileSync(join(root, name), 'utf8')
  const script = read(path)
  if (!script.includes(MARK)) throw new Error(`${path} has no line ${MARK.trim()}`)
  return script.replace(MARK, () => read('packaging/foreign.sh'))
}
