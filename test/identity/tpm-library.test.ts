import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'

const OPEN = `
const { instanceTpm } = await import(${JSON.stringify(import.meta.resolve('../../src/identity/tpm.ts'))})
const tpm = instanceTpm(process.argv[1], 5000)
await tpm.run(async () => undefined).catch((error) => console.log(error.code, error.cause.message))`

test('a library of tpm2-tss that cannot be loaded is TPM_LIBRARY, and the cause names it', async () => {
  const swtpm = await startSwtpm()
  const folder = await mkdtemp('/tmp/metabind-library-')
  onTestFinished(async () => {
    await swtpm.stop()
    await rm(folder, { recursive: true })
  })
  await writeFile(join(folder, 'libtss2-esys.so.0'), '')
  const args = ['--input-type=module', '-e', OPEN, swtpm.tcti]
  const env = { ...process.env, LD_LIBRARY_PATH: folder }
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: 240_000 })
  expect(stdout).toBe('TPM_LIBRARY cannot load libtss2-esys.so.0 of tpm2-tss\n')
})
