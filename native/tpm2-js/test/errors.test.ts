import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { errorOfRc } from '../src/tpm-error.ts'

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
