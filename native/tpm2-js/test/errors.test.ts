import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { errorOfRc } from '../src/tpm-error.ts'

const run = promisify(execFile)
const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

test('README.md explains exactly the error codes that exist', () => {
  const union = readFileSync(path('../src/tpm-error.ts'), 'utf8').match(/(?<=\| ')TPM_\w+/g)
  const table = readFileSync(path('../README.md'), 'utf8').match(/(?<=^\| `)TPM_\w+/gm)
  expect(table?.sort()).toEqual(union?.sort())
})

test.each([
  [0x18b, 'TPM_RC'],
  [0x000b_0143, 'TPM_RC'],
  [0x000c_0902, 'TPM_RC'],
  [0x000a_000a, 'TPM_TRANSPORT'],
  [0x0007_001b, 'TPM_RESPONSE'],
  [0x0007_0011, 'TPM_RESPONSE'],
  [0x0008_0011, 'TPM_RESPONSE'],
  [0x0009_0006, 'TPM_RESPONSE'],
  [0x0007_0017, 'TPM_LIBRARY'],
])('response code %d is %s', (rc, code) => {
  expect(errorOfRc('Esys_HMAC', rc, 'text')).toMatchObject({ code, rc })
})

test('the message names command, code and subject', () => {
  const error = errorOfRc('Esys_ActivateCredential', 0x1df, 'integrity check failed')
  expect(error.message).toBe(
    'Esys_ActivateCredential: TPM_RC_INTEGRITY (0x1df, parameter 1): integrity check failed',
  )
})

// A mount namespace of its own hides the library from one process; that takes root.
test.skipIf(process.getuid?.() !== 0)('a missing library is TPM_LIBRARY_MISSING', async () => {
  const script = `const { openTpm } = await import(${JSON.stringify(path('../src/tpm.ts'))})
    const tcti = 'swtpm:host=127.0.0.1,port=1'
    await openTpm({ tcti }).catch((error) => console.log(error.code, error.message))`
  const hide = `library=$(ldconfig -p | sed -n 's/.*libtss2-esys.so.0 .*=> //p' | head -n 1)
    mount --bind /dev/null "$library" && exec "$0" --input-type=module -e "$1"`
  const args = ['-m', 'sh', '-c', hide, process.execPath, script]
  const { stdout } = await run('unshare', args, { timeout: 10_000 })
  expect(stdout).toBe('TPM_LIBRARY_MISSING cannot load libtss2-esys.so.0 of tpm2-tss\n')
})
