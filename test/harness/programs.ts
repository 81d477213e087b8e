import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The programs that tests start: those of bundled-programs.ts where a suite has made them, or else the sources. */
const FOLDER = process.env['TEST_PROGRAMS']

const program = (name: string, source: URL) =>
  FOLDER === undefined ? fileURLToPath(source) : join(FOLDER, name)

export const CLI = program('metabind.cjs', new URL('../../src/cli.ts', import.meta.url))
export const DAEMON = program('metabindd.cjs', new URL('../../src/daemon.ts', import.meta.url))
export const REGISTRAR = program(
  'metabind-registrar.cjs',
  new URL('../../src/registrar.ts', import.meta.url),
)
