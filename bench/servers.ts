import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** A server that is compared. */
export interface Server {
  readonly name: string
  readonly socket: string
  /** Every process that works for it. */
  readonly pids: readonly number[]
  stop(): Promise<void>
}

const FASTIFY = fileURLToPath(new URL('./peers/fastify-server.ts', import.meta.url))
const GO = fileURLToPath(new URL('./peers/server.go', import.meta.url))
const BARE = fileURLToPath(new URL('./peers/bare-server.ts', import.meta.url))

/** node:http that answers every request with the same bytes, and does nothing else. */
export function bareNode(directory: string, body: Buffer): Promise<Server> {
  const file = join(directory, 'bare-body')
  writeFileSync(file, body)
  return bare('bare node:http', join(directory, 'bare.sock'), 'same', file)
}

/** node:http that asks upstream for every request, and does nothing else. */
export function bareRelay(directory: string, url: string, token: string): Promise<Server> {
  return bare('bare node relay', join(directory, 'relay.sock'), 'relay', url, token)
}

function bare(name: string, socket: string, ...args: readonly string[]): Promise<Server> {
  return serving(name, socket, process.execPath, [BARE, socket, ...args])
}

/** fastify that answers every request with the same bytes. */
export function fastifyServer(directory: string, body: Buffer): Promise<Server> {
  const file = join(directory, 'fastify-body')
  writeFileSync(file, body)
  const socket = join(directory, 'fastify.sock')
  return serving('fastify', socket, process.execPath, [FASTIFY, socket, file])
}

async function serving(
  name: string,
  socket: string,
  program: string,
  args: readonly string[],
  env = process.env,
): Promise<Server> {
  const child = spawn(program, args, { stdio: 'inherit', env })
  await answering(socket)
  return { name, socket, pids: [child.pid ?? 0], stop: () => end(child) }
}

/** nginx that returns a fixed text: the limit of what a server on this machine can do. */
export async function nginx(directory: string, body: Buffer): Promise<Server | undefined> {
  const program = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path))
  if (program === undefined) return undefined
  const home = join(directory, 'nginx')
  mkdirSync(home)
  const socket = join(home, 'nginx.sock')
  writeFileSync(join(home, 'nginx.conf'), nginxConfig(home, socket, body))
  const child = spawn(program, ['-p', home, '-c', join(home, 'nginx.conf')], { stdio: 'ignore' })
  await answering(socket)
  const pid = child.pid ?? 0
  const workers = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  return { name: 'nginx', socket, pids: [pid, ...workers.map(Number)], stop: () => end(child) }
}

function nginxConfig(home: string, socket: string, body: Buffer): string {
  return `daemon off;
worker_processes 1;
pid ${home}/pid;
error_log /dev/null;
events {}
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path ${home}; proxy_temp_path ${home}; fastcgi_temp_path ${home};
  uwsgi_temp_path ${home}; scgi_temp_path ${home};
  server { listen unix:${socket}; location / { default_type text/plain; return 200 '${body}'; } }
}
`
}

/** Go's net/http with callers, tokens and a map, on one thread; undefined if there is no Go to build it. */
export async function goServer(directory: string, body: Buffer): Promise<Server | undefined> {
  if (spawnSync('go', ['version']).status !== 0) return undefined
  const at = (name: string) => join(directory, name)
  const env = { ...process.env, GOCACHE: at('go-cache'), GO111MODULE: 'off', GOMAXPROCS: '1' }
  const built = spawnSync('go', ['build', '-o', at('go-server'), GO], { env, encoding: 'utf8' })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
  writeFileSync(at('go-body'), body)
  return serving('Go net/http', at('go.sock'), at('go-server'), [at('go.sock'), at('go-body')], env)
}

async function answering(socket: string): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (await connects(socket)) {
      chmodSync(socket, 0o666)
      return
    }
    await sleep(25)
  }
  throw new Error(`nobody answers on ${socket}`)
}

function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(socket)
    client.once('connect', () => {
      client.destroy()
      resolve(true)
    })
    client.once('error', () => resolve(false))
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGTERM')
  await new Promise((resolve) => child.once('exit', resolve))
}
