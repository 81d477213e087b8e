import { execFile } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Row, round } from './compare.ts'

const run = promisify(execFile)
const PACKAGE = fileURLToPath(new URL('../packaging/package.ts', import.meta.url))

/** How much is downloaded, and how much that becomes. */
export async function size(directory: string): Promise<Row[]> {
  const args = [
    PACKAGE,
    '--package',
    'metabind',
    '--arch',
    'amd64',
    '--format',
    'deb',
    '--out',
    directory,
  ]
  await run(process.execPath, args)
  const deb = readdirSync(directory).find((name) => name.endsWith('.deb')) ?? ''
  const file = join(directory, deb)
  const { stdout } = await run('dpkg-deb', ['--field', file, 'Installed-Size'])
  return [
    { question: 'size', subject: 'the DEB', values: { MiB: round(statSync(file).size / 2 ** 20) } },
    { question: 'size', subject: 'installed', values: { MiB: round(Number(stdout) / 1024) } },
  ]
}
