import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { whyNoSockets } from '../../src/caller/socket-diag.ts'

const run = promisify(execFile)
const SOCKET_DIAG = fileURLToPath(new URL('../../src/caller/socket-diag.ts', import.meta.url))

test('the kernel says whose TCP connections are', () => {
  expect(whyNoSockets()).toBeUndefined()
})

test('where it cannot be asked, that is said, with the call that failed', async () => {
  // Without a descriptor that is left, socket(2) is refused.
  const script = `import { openSync } from 'node:fs'
    import { whyNoSockets } from ${JSON.stringify(SOCKET_DIAG)}
    try { for (;;) openSync('/dev/null') } catch {}
    console.log(whyNoSockets())`
  const node = [process.execPath, '--input-type=module', '-e', script]
  const { stdout } = await run('sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', ...node])
  const why =
    'The kernel cannot be asked whose a TCP connection is (socket NETLINK_SOCK_DIAG: EMFILE).'
  expect(stdout).toBe(`${why}\n`)
})
