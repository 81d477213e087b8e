import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { asUser } from './networks.ts'

const SCRIPT = fileURLToPath(new URL('./raw-flood.ts', import.meta.url))

/** What a user who means harm does to a socket. See raw-flood.ts. */
export interface Flood {
  /** The path of a socket, or a port of 127.0.0.1. */
  readonly socket: string
  readonly connections: number
  readonly seconds: number
  /** Whether it reads answers. */
  readonly reads: boolean
  /** What it sends on each connection, so many times over. */
  readonly request: string
  readonly times: number
}

/**
 * Does it as a user with no right. Descriptors are not what stops it.
 *
 * @param directory where the user may read, for the script
 * @returns how many connections were opened
 */
export async function floodAs(uid: number, directory: string, flood: Flood): Promise<number> {
  const script = join(directory, 'raw-flood.ts')
  await copyFile(SCRIPT, script)
  const args = [
    ...[script, flood.socket, String(flood.connections), String(flood.seconds)],
    ...[flood.reads ? 'reads' : 'mute', flood.request, String(flood.times)],
  ]
  const command = ['--nofile=20000:20000', ...asUser(uid), process.execPath, ...args]
  const child = spawn('prlimit', command, { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' })
  const [printed] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return Number(printed)
}
