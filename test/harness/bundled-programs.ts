import { createHash } from 'node:crypto'
import {
  existsSync,
  globSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, bundleRegistrar } from '../../packaging/bundle.ts'
import { copyKoffi } from './library.ts'

const FOLDER = fileURLToPath(new URL('../../.dev/programs/', import.meta.url))
const KEPT_MS = 24 * 3600 * 1000

/**
 * Before a suite that starts programs: bundles them as packages have them, which start in half the time that the
 * sources take, and names their folder in TEST_PROGRAMS. The folder has the name of its contents, so that the compile
 * cache finds them again, and a suite beside this one keeps its own.
 */
export default async function setup(): Promise<void> {
  // Of another suite of this run.
  if (process.env['TEST_PROGRAMS'] !== undefined) return
  const made = join(FOLDER, `new-${process.pid}`)
  await bundle(made)
  await bundleRegistrar(made)
  await copyKoffi(made)
  process.env['TEST_PROGRAMS'] = keep(made)
  const isOld = (folder: string) => Date.now() - statSync(folder).mtimeMs > KEPT_MS
  for (const old of globSync(`${FOLDER}*`).filter(isOld)) rmSync(old, { recursive: true })
}

/** Gives a folder the name of its contents, unless there is one. @returns its path */
function keep(made: string): string {
  const hash = createHash('sha256')
  for (const name of globSync('**/*.{cjs,node}', { cwd: made }).sort()) {
    hash.update(name).update(readFileSync(join(made, name)))
  }
  const kept = join(FOLDER, hash.digest('hex').slice(0, 16))
  if (existsSync(kept)) rmSync(made, { recursive: true })
  else renameSync(made, kept)
  utimesSync(kept, new Date(), new Date())
  return kept
}
