import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'

export interface Haproxy extends AsyncDisposable {
  readonly origin: string
}

/** Debian's haproxy before registrars, as docs/fleet-postgresql.md has it. */
export async function startHaproxy(
  directory: string,
  origins: readonly string[],
): Promise<Haproxy> {
  const port = await freePort()
  const servers = origins.map((origin, at) => {
    return `  server s${at} ${new URL(origin).host} check inter 200ms fall 1 rise 1`
  })
  const config = join(directory, 'haproxy.cfg')
  await writeFile(
    config,
    `defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend fleet
  bind 127.0.0.1:${port}
  default_backend registrar
backend registrar
  option httpchk GET /healthz
  option redispatch
  option forwardfor
${servers.join('\n')}
`,
  )
  const program = spawn('/usr/sbin/haproxy', ['-db', '-f', config], { stdio: 'ignore' })
  const exited = once(program, 'exit')
  const origin = `http://127.0.0.1:${port}`
  await answering(`${origin}/healthz`)
  return {
    origin,
    [Symbol.asyncDispose]: async () => {
      program.kill('SIGKILL')
      await exited
    },
  }
}

async function answering(url: string): Promise<void> {
  for (;;) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
