import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inChild } from './child.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'

/** How the libraries are found, and whose functions they get from the dynamic linker (ld.so(8)). */

let swtpm: Swtpm
let directory: string

beforeAll(async () => {
  swtpm = await startSwtpm()
  directory = await mkdtemp('/tmp/tpm2-js-')
})

afterAll(async () => {
  await swtpm.stop()
  await rm(directory, { recursive: true })
})

/** A salted session has ESAPI use its crypto library: random numbers, ECDH, HMAC, AES. */
const SALTED = `
const { STORAGE, hmacKey } = await import(${JSON.stringify(import.meta.resolve('./templates.ts'))})
const tpm = await openTpm({ tcti: process.argv[1] })
await tpm.sequence(async (commands) => {
  const tpmKey = await commands.createPrimary('owner', STORAGE)
  const key = await commands.createPrimary('null', hmacKey('a'))
  const session = await commands.startAuthSession({ type: 'hmac', tpmKey })
  await commands.setSessionAttributes(session, { continueSession: true, encrypt: true })
  await commands.hmac(key, new Uint8Array(8), session)
})
await tpm.close()
process.stdout.write('done')
`

test('tpm2-tss and its OpenSSL take no function from Node, which exports an OpenSSL of its own', async () => {
  const output = join(directory, 'bindings')
  await inChild(SALTED, swtpm.tcti, { LD_DEBUG: 'bindings', LD_DEBUG_OUTPUT: output })
  const bindings = readdirSync(directory)
    .filter((name) => name.startsWith('bindings.'))
    .flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n'))
    .map((line) => /binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `(\w+)'/.exec(line))
    .flatMap((match) => (match === null ? [] : [match.slice(1) as [string, string, string]]))
    .filter(([of]) => /libtss2-|libcrypto/.test(of))
  const isCrypto = ([, , symbol]: readonly string[]) => /^(EVP|EC|BN|RSA|HMAC)_/.test(symbol ?? '')
  expect(bindings.filter(isCrypto).some(([, to]) => to.includes('libcrypto'))).toBe(true)
  // The C library's variables are the program's, by copy relocation, whoever uses them.
  const isVariable = ([, , symbol]: readonly string[]) => /^std(out|err)$/.test(symbol ?? '')
  const fromNode = bindings.filter(([, to]) => to === process.execPath)
  expect(fromNode.filter((binding) => !isVariable(binding))).toEqual([])
})

// `./dev test-tss` has the libraries of another release there.
const chosen = (process.env.LD_LIBRARY_PATH ?? '')
  .split(':')
  .map((folder) => join(folder, 'libtss2-esys.so.0'))
  .find(existsSync)

test.skipIf(chosen === undefined)(
  'the libraries in LD_LIBRARY_PATH are those that run',
  async () => {
    const maps = "(await import('node:fs')).readFileSync('/proc/self/maps', 'utf8')"
    const said = await inChild(`${SALTED}\nprocess.stdout.write(${maps})`, swtpm.tcti, {})
    expect(said).toContain(realpathSync(chosen ?? ''))
  },
)

// glibc's own allocator for debugging: a process that preloads it has another malloc than the libraries.
const OTHER_MALLOC = ['/lib/x86_64-linux-gnu', '/lib/aarch64-linux-gnu', '/lib64']
  .map((folder) => `${folder}/libc_malloc_debug.so.0`)
  .find(existsSync)

test.skipIf(OTHER_MALLOC === undefined)(
  'what ESAPI has allocated is cleared and given back also beside another allocator',
  async () => {
    const env = { LD_PRELOAD: OTHER_MALLOC ?? '', GLIBC_TUNABLES: 'glibc.malloc.check=3' }
    expect(await inChild(SALTED, swtpm.tcti, env)).toBe('done')
  },
)

const OPEN = `await openTpm({ tcti: process.argv[1] })
  .then((tpm) => tpm.close())
  .catch((error) => process.stdout.write(error.code + ' ' + error.message))`

/** What openTpm says where these files come before the libraries of the machine. */
async function openingWith(put: (folder: string) => Promise<void>): Promise<string> {
  const folder = await mkdtemp(join(directory, 'libraries-'))
  await put(folder)
  const path = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  return await inChild(OPEN, swtpm.tcti, { LD_LIBRARY_PATH: path })
}

test('without a library: TPM_LIBRARY_MISSING', async () => {
  const said = await openingWith((folder) => writeFile(join(folder, 'libtss2-esys.so.0'), ''))
  expect(said).toBe('TPM_LIBRARY_MISSING cannot load libtss2-esys.so.0 of tpm2-tss')
})

test('a version without what is needed: TPM_LIBRARY_UNFIT', async () => {
  // A library that has none of the functions.
  const said = await openingWith((folder) => symlink(libm(), join(folder, 'libtss2-rc.so.0')))
  expect(said).toBe(
    'TPM_LIBRARY_UNFIT libtss2-rc.so.0 has no Tss2_RC_Decode: tpm2-tss 2.3.2 or later is needed',
  )
})

function libm(): string {
  const maps = readFileSync('/proc/self/maps', 'utf8')
  return /\S+libm\.so\.6$/m.exec(maps)?.[0] ?? ''
}
