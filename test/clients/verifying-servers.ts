import { spawn } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'

/** Debian's haproxy and Apache as servers that let through what has a good token; each answers `/orders` then. */

export const HAPROXY = '/usr/sbin/haproxy'
const APACHE = '/usr/sbin/apache2'

export const apacheModule = (name: string) => `/usr/lib/apache2/modules/mod_${name}.so`

export interface VerifyingServer extends AsyncDisposable {
  readonly origin: string
}

/** What it is to take, and from where. */
export interface Taken {
  readonly issuer: string
  /** Of the issuer without TLS. */
  readonly origin: string
  readonly audience: string
  /** What the issuer publishes: of each algorithm one. */
  readonly keys: readonly { readonly kty: string; readonly alg: string }[]
  /** Of the authority of the issuer's certificate. */
  readonly authorityFile: string
  /** For directories of its own. */
  readonly directory: string
}

/** As `jwt_verify` of haproxy's configuration manual has it, with its claims checked beside. */
export async function startVerifyingHaproxy(
  { issuer, audience, keys, directory: parent }: Taken,
  environment: NodeJS.ProcessEnv,
): Promise<VerifyingServer> {
  const directory = await mkdtemp(join(parent, 'haproxy-'))
  const port = await freePort()
  const rules: string[] = []
  for (const [at, key] of keys.entries()) {
    const file = join(directory, `${at}.pem`)
    await writeFile(
      file,
      createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }),
    )
    rules.push(
      `  http-request deny if { var(txn.alg) -m str ${key.alg} } !{ http_auth_bearer,jwt_verify("${key.alg}","${file}") 1 }`,
    )
  }
  const config = join(directory, 'haproxy.cfg')
  await writeFile(
    config,
    `defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend api
  bind 127.0.0.1:${port}
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny unless { var(txn.alg) -m str ${keys.map(({ alg }) => alg).join(' ')} }
${rules.join('\n')}
  http-request deny unless { http_auth_bearer,jwt_payload_query('$.iss') -m str ${issuer} }
  http-request deny unless { http_auth_bearer,jwt_payload_query('$.aud') -m str ${audience} }
  http-request deny unless { var(txn.exp),sub(txn.now) -m int gt 0 }
  http-request return status 200
`,
  )
  return running([HAPROXY, '-db', '-f', config], port, environment)
}

/** A module, and its directives for the server and for what is asked there; `authority.pem` is in `directory`. */
export interface ApacheModule {
  readonly name: string
  readonly server: string
  readonly location: string
}

export async function startVerifyingApache(
  { authorityFile, directory: parent }: Taken,
  { name, server, location }: ApacheModule,
  environment: NodeJS.ProcessEnv,
): Promise<VerifyingServer> {
  const directory = await mkdtemp(join(parent, 'apache-'))
  await chmod(directory, 0o755)
  await cp(authorityFile, join(parent, 'authority.pem'))
  await mkdir(join(directory, 'documents'))
  await writeFile(join(directory, 'documents/orders'), '')
  const port = await freePort()
  const loaded = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', name]
  const config = join(directory, 'apache.conf')
  const user = process.getuid?.() === 0 ? 'User www-data\nGroup www-data\n' : ''
  await writeFile(
    config,
    `ServerName localhost
ServerRoot "${directory}"
DefaultRuntimeDir "${directory}"
PidFile "${directory}/pid"
ErrorLog "${directory}/error.log"
Listen 127.0.0.1:${port}
${loaded.map((one) => `LoadModule ${one}_module ${apacheModule(one)}`).join('\n')}
${user}DocumentRoot "${directory}/documents"
${server}
<Location />
${location}
</Location>
`,
  )
  return running([APACHE, '-D', 'FOREGROUND', '-f', config], port, environment)
}

async function running(
  command: readonly string[],
  port: number,
  environment: NodeJS.ProcessEnv,
): Promise<VerifyingServer> {
  const [file = '', ...args] = command
  const env = { ...process.env, ...environment }
  const program = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'], env })
  const exited = once(program, 'exit')
  const origin = `http://127.0.0.1:${port}`
  while ((await fetch(origin).catch(() => undefined)) === undefined) {
    if (program.exitCode !== null || program.signalCode !== null) throw new Error(`${file} ended`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    origin,
    [Symbol.asyncDispose]: async () => {
      program.kill('SIGTERM')
      await exited
    },
  }
}
