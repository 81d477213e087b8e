import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { openTpm } from '../src/tpm.ts'
import { startSwtpm } from './swtpm.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

describe('openTpm refuses before it asks a library', () => {
  test.each([
    ['an empty TCTI', ''],
    ['no TCTI', undefined],
    ['a null TCTI', null],
  ])('%s: TPM_TCTI_UNNAMED', async (_what, tcti) => {
    const opening = openTpm({ tcti: tcti as unknown as string })
    await expect(opening).rejects.toMatchObject({ code: 'TPM_TCTI_UNNAMED', layer: 'binding' })
  })

  test.each([
    'device',
    'device:',
    'device:tpmrm0',
    'swtpm',
    'swtpm:',
    'swtpm:path=',
    'swtpm:path=relative',
    `swtpm:path=/${'x'.repeat(107)}`,
    'swtpm:path=/tmp/a,host=b',
    'mssim',
    'mssim:host=localhost',
    'mssim:host=,port=1',
    'libtss2-tcti-mssim.so.0',
    'none',
    'cmd:nc -l 1',
    'device:/dev/tpm0\0x',
    ' device:/dev/tpm0',
    42,
  ])('%j: TPM_TCTI_INVALID', async (tcti) => {
    const opening = openTpm({ tcti: tcti as unknown as string })
    await expect(opening).rejects.toMatchObject({ code: 'TPM_TCTI_INVALID' })
  })

  test.each([0, -1, 1.5, Number.NaN, 2 ** 31])('a command timeout of %d', async (timeoutMs) => {
    const opening = openTpm({ tcti: 'device:/dev/null', commandTimeoutMs: timeoutMs })
    await expect(opening).rejects.toMatchObject({ code: 'TPM_ARGUMENT' })
  })
})

describe('openTpm says why a TPM cannot be reached', () => {
  test.each([
    ['TPM_ABSENT', 'device:/dev/no-such-tpm', true],
    ['TPM_ABSENT', 'swtpm:path=/tmp/no-such-directory/s', true],
    ['TPM_TCTI_INVALID', 'device:/tmp', false],
    ['TPM_TCTI_INVALID', 'swtpm:path=/dev/null', false],
    // Nothing listens on port 1 of this machine.
    ['TPM_TRANSPORT', 'swtpm:host=127.0.0.1,port=1', true],
    ['TPM_TRANSPORT', 'mssim:host=127.0.0.1,port=1', true],
    // A character device that is no TPM.
    ['TPM_TRANSPORT', 'device:/dev/null', true],
  ])('%s: %s', async (code, tcti, retry) => {
    const opening = openTpm({ tcti, commandTimeoutMs: 2000 })
    await expect(opening).rejects.toMatchObject({ name: 'TpmError', code, retry })
  })

  test('a socket that nobody serves any more is TPM_TRANSPORT', async () => {
    const swtpm = await startSwtpm()
    await swtpm.kill()
    await expect(openTpm({ tcti: swtpm.tcti })).rejects.toMatchObject({ code: 'TPM_TRANSPORT' })
    await swtpm.stop()
  })

  test('a socket of somebody else is TPM_NOT_PERMITTED', async () => {
    const swtpm = await startSwtpm()
    await chmod(swtpm.dir, 0o755)
    await chmod(swtpm.socketPath, 0o000)
    expect(await openingAsNobody(swtpm.tcti)).toBe('TPM_NOT_PERMITTED')
    await swtpm.stop()
  })

  test('a device held by somebody else is TPM_BUSY', async () => {
    // A terminal in exclusive mode answers open(2) with EBUSY, as /dev/tpm0 does while it is held.
    const hold = `import os,pty,fcntl,termios,sys
main, sub = pty.openpty()
os.chmod(os.ttyname(sub), 0o666)
fcntl.ioctl(sub, termios.TIOCEXCL)
print(os.ttyname(sub), flush=True)
sys.stdin.read()`
    const holder = spawn('python3', ['-c', hold], { stdio: ['pipe', 'pipe', 'inherit'] })
    const [path] = await once(holder.stdout, 'data')
    expect(await openingAsNobody(`device:${String(path).trim()}`)).toBe('TPM_BUSY')
    holder.stdin.end()
    await once(holder, 'exit')
  })
})

/** The error code of openTpm in a process without privileges: root is refused nothing. */
async function openingAsNobody(tcti: string): Promise<string> {
  const entry = fileURLToPath(new URL('../src/tpm.ts', import.meta.url))
  const script = `const { openTpm } = await import(${JSON.stringify(entry)})
    const tcti = ${JSON.stringify(tcti)}
    console.log(await openTpm({ tcti }).then(() => 'opened', (error) => error.code))`
  const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
  const args = ['--input-type=module', '-e', script]
  const { stdout } = await run(process.execPath, args, { ...identity, timeout: 10_000, cwd: '/' })
  return stdout.trim()
}
