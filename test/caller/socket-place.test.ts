import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { kernelHas } from '../../src/caller/kernel-features.ts'
import { whyNoPlaces } from '../../src/caller/socket-place.ts'

const run = promisify(execFile)
const SOCKET_PLACE = fileURLToPath(new URL('../../src/caller/socket-place.ts', import.meta.url))

describe('callers over TCP', () => {
  test.each(['4.18.0-553.el8_10.x86_64', '5.7.19', '3.10.0-1160.el7', 'unknown'])(
    'can be named by nobody on Linux %s',
    (kernel) => expect(whyNoPlaces(kernel)).toMatch(/^Before Linux 5\.8 /),
  )

  test('can be named by nobody where the kernel cannot be asked about sockets', async () => {
    // Without a descriptor that is left, socket(2) is refused.
    const script = `import { openSync } from 'node:fs'
      import { whyNoPlaces } from ${JSON.stringify(SOCKET_PLACE)}
      console.log('first')
      try { for (;;) openSync('/dev/null') } catch {}
      console.log(whyNoPlaces('6.1.0'))`
    const node = [process.execPath, '--input-type=module', '-e', script]
    const { stdout } = await run('sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', ...node])
    expect(stdout).toMatch(
      /^first\nThe kernel cannot be asked who has a TCP socket \(socket NETLINK_SOCK_DIAG: EMFILE\)\.$/m,
    )
  })
})

test.each([
  ['5.8.0', true],
  ['5.10.134-16.3.al8.x86_64', true],
  ['5.10.0-28-amd64', true],
  ['6.1.0-37-amd64', true],
  ['10.0.0', true],
  ['5.7.19', false],
  ['4.19.91', false],
])('versions of Linux are compared by their numbers: %s', (kernel, has) => {
  expect(kernelHas('socketCgroup', kernel)).toBe(has)
})
