import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from '../../packaging/bundle.ts'
import { readWrapper } from '../../packaging/wrapper.ts'
import { unitLimits } from './unit-file.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KOFFI_FOLDER = process.arch === 'x64' ? 'linux_x64' : 'linux_arm64'

/** The bundle, koffi's native module and the runtime, as /usr/lib/metabind has them. */
export async function layLibrary(library: string): Promise<string> {
  await mkdir(join(library, 'bin'), { recursive: true })
  await bundle(library)
  await copyKoffi(library)
  // A copy: the project's folder need not be open to every user.
  await copyFile(process.execPath, join(library, 'bin/node'))
  return library
}

/** Puts koffi's native module beside the bundles, where they look for it. */
export async function copyKoffi(folder: string): Promise<void> {
  const native = createRequire(new URL('../../native/tpm2-js/package.json', import.meta.url))
  const koffi = dirname(native.resolve(`@koromix/koffi-linux-${process.arch}`))
  await copyFile(join(koffi, KOFFI_FOLDER, 'koffi.node'), join(folder, 'koffi.node'))
}

/** What the unit starts. */
export function packagedDaemon(library: string): string[] {
  return [join(library, 'bin/node'), ...unitLimits().v8Flags, join(library, 'metabindd.cjs')]
}

/** The wrappers in front of them, as packages have them in /usr/bin: `metabind` and `metabindd` in that folder. */
export async function layWrappers(library: string): Promise<void> {
  for (const name of ['metabind', 'metabindd']) {
    const text = readWrapper(ROOT, `packaging/${name}.sh`).replaceAll('/usr/lib/metabind', library)
    await writeFile(join(library, name), text, { mode: 0o755 })
  }
}
