import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { requireRootFor } from './root.ts'

/** A user that owns nothing: `nobody`. Another one than the tests', who must be root for this. */
export const NOBODY = 65_534
export const canBecomeNobody = process.getuid?.() === 0

/** An answer as curl prints it with --include: head and body. */
export interface CurlAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** One request with curl, as another user. */
export async function curlAs(
  uid: number,
  socket: string,
  path: string,
  ...more: readonly string[]
): Promise<CurlAnswer> {
  requireRootFor(uid)
  const url = `http://metadata${path}`
  const args = ['--silent', '--include', '--max-time', '10', '--unix-socket', socket, ...more, url]
  const child = spawn('curl', args, {
    uid,
    gid: uid,
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
  })
  const [printed] = await Promise.all([text(child.stdout), once(child, 'exit')])
  const [head = '', ...body] = printed.split('\r\n\r\n')
  return { status: Number(head.split(' ')[1]), head, body: body.join('\r\n\r\n') }
}
