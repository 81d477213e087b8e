import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const LINUX = import.meta.resolve('../src/linux.ts')
const TPM = import.meta.resolve('../../tpm2-js/src/tpm.ts')
const KOFFI = import.meta.resolve('koffi')

/** The C stack of a call on a worker thread, in a process that loads these modules in this order. */
async function stackBytes(modules: readonly string[]): Promise<number> {
  const imports = modules.map((url) => `await import(${JSON.stringify(url)})`)
  const code = `${imports.join('\n')}
    const { default: koffi } = await import(${JSON.stringify(KOFFI)})
    console.log(koffi.config().async_stack_size)`
  const args = ['--input-type=module', '-e', code]
  return Number((await promisify(execFile)(process.execPath, args)).stdout)
}

test('tpm2-js has the same stack, whichever of the two is loaded first', async () => {
  const alone = await stackBytes([TPM])
  expect(alone).toBeGreaterThan(await stackBytes([]))
  expect(await stackBytes([LINUX, TPM])).toBe(alone)
  expect(await stackBytes([TPM, LINUX])).toBe(alone)
})
