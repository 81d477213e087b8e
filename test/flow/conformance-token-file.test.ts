import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, makeToken, read, refusal } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'

/** Tokens in files, and what is left of them. */

const SESSION = /^[A-Za-z0-9_-]{86}$/
const WHOAMI = '/metabind/v1/whoami'

let root: string
let files: string
let instance: Instance
beforeAll(async () => {
  root = await mkdtemp('/tmp/mb-')
  files = join(root, 'files')
  await mkdir(files)
  instance = await startInstance(join(root, 'a'))
})
afterAll(async () => {
  await instance?.stop()
  await rm(root, { recursive: true, force: true })
})

interface Ran {
  readonly exit: number | null
  readonly out: string
  readonly err: string
}

async function metabind(...args: string[]): Promise<Ran> {
  const env = {
    ...process.env,
    METABIND_SOCKET: instance.metadataSocket,
    METABIND_ADMIN_SOCKET: instance.adminSocket,
  }
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { exit: child.exitCode, out, err }
}

const at = (name: string) => join(files, name)
const modeOf = async (path: string) => ((await lstat(path)).mode & 0o7777).toString(8)

describe('token --out', () => {
  test('makes a file for its owner alone, whatever the umask', async () => {
    const path = at('new')
    const umaskBefore = process.umask(0)
    const ran = await metabind('token', '--out', path).finally(() => process.umask(umaskBefore))
    expect(ran).toEqual({ exit: 0, out: '', err: '' })
    expect([await modeOf(path), (await lstat(path)).uid]).toEqual(['600', process.getuid?.()])
    expect(await readFile(path, 'utf8')).toMatch(SESSION)
  })

  test('replaces a file that others could read by one that they cannot', async () => {
    const path = at('open')
    await writeFile(path, 'before')
    await chmod(path, 0o666)
    const { ino } = await lstat(path)
    expect((await metabind('token', '--out', path)).exit).toBe(0)
    expect(await modeOf(path)).toBe('600')
    // Another file: whoever has the old one open reads nothing in it.
    expect((await lstat(path)).ino).not.toBe(ino)
    expect(await readFile(path, 'utf8')).toMatch(SESSION)
  })

  test('neither follows nor replaces a symbolic link', async () => {
    await writeFile(at('target'), 'before')
    for (const [name, target] of [
      ['link', at('target')],
      ['dangling', at('nowhere')],
    ] as const) {
      await symlink(target, at(name))
      const ran = await metabind('token', '--out', at(name))
      expect(ran).toMatchObject({ exit: expect.not.toBeOneOf([0]), out: '' })
      expect((await lstat(at(name))).isSymbolicLink()).toBe(true)
    }
    expect(await readFile(at('target'), 'utf8')).toBe('before')
    await expect(lstat(at('nowhere'))).rejects.toThrow('ENOENT')
  })

  test('refuses a FIFO and a directory, and does not wait', async () => {
    await promisify(execFile)('mkfifo', [at('fifo')])
    for (const path of [at('fifo'), files]) {
      const ran = await metabind('token', '--out', path)
      expect([ran.exit, ran.out]).toEqual([1, ''])
    }
    expect((await lstat(at('fifo'))).isFIFO()).toBe(true)
  })

  test('leaves nothing half-made behind', async () => {
    expect((await readdir(files)).filter((name) => name.startsWith('.'))).toEqual([])
  })
})

describe('get --token-file', () => {
  const get = (file: string) => metabind('get', 'instance-id', '--token-file', file)

  test('reads a token, with or without a line end', async () => {
    const token = await makeToken(instance.metadataSocket)
    for (const end of ['', '\n']) {
      await writeFile(at('token'), token + end)
      expect(await get(at('token'))).toEqual({
        exit: 0,
        out: instance.cloud?.instanceId,
        err: '',
      })
    }
  })

  test('refuses a link, a FIFO, a directory and a device, and does not wait', async () => {
    await writeFile(at('real'), await makeToken(instance.metadataSocket))
    await symlink(at('real'), at('to-real'))
    for (const path of [at('to-real'), at('fifo'), files, '/dev/zero']) {
      const ran = await get(path)
      expect([path, ran.exit, ran.out]).toEqual([path, 1, ''])
    }
  })

  test('says nothing of what is in a file that holds no token', async () => {
    for (const content of ['planted words', 'planted\x1b[31m', 'planted'.repeat(2000), 'planted']) {
      await writeFile(at('other'), content)
      const ran = await get(at('other'))
      expect(ran.exit).not.toBe(0)
      expect(ran.out + ran.err).not.toContain('planted')
    }
  })

  test('a copy rolled back to is worth what its own time is worth', async () => {
    const old = await makeToken(instance.metadataSocket, 1)
    await delay(1050)
    await metabind('token', '--out', at('rolled'))
    expect((await get(at('rolled'))).exit).toBe(0)
    await writeFile(at('rolled'), old)
    const ran = await get(at('rolled'))
    expect([ran.exit === 0, ran.out]).toEqual([false, ''])
    expect(ran.err).toContain('expired')
  })

  test('a copy rolled back to is not good again after it was revoked', async () => {
    await metabind('token', '--out', at('revoked'))
    const copy = await readFile(at('revoked'))
    expect((await metabind('revoke', at('revoked'))).exit).toBe(0)
    await instance.restartAgent()
    await writeFile(at('revoked'), copy)
    expect((await get(at('revoked'))).exit).not.toBe(0)
  })
})

test('a file of another owner is a token like any other: who made it decides', async (context) => {
  requireRoot(context, 'only root can give a file to another owner')
  const path = at('theirs')
  await writeFile(path, await makeToken(instance.metadataSocket), { mode: 0o600 })
  await chown(path, 65534, 65534)
  expect((await metabind('get', 'instance-id', '--token-file', path)).exit).toBe(0)
})

describe('the files of the agent', () => {
  test('are for it alone', async () => {
    const { runtimeDirectory, stateDirectory } = instance
    for (const directory of [runtimeDirectory, stateDirectory]) {
      for (const name of await readdir(directory)) {
        const path = join(directory, name)
        expect([path, await modeOf(path)]).toEqual([path, '600'])
      }
    }
    expect(await readdir(runtimeDirectory)).toContain('salt')
  })

  test('are refused where somebody may have changed or read them', async () => {
    const salt = join(instance.runtimeDirectory, 'salt')
    const kept = await readFile(salt)
    const spoil: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['readable by others', () => chmod(salt, 0o644)],
      ['a link', () => rm(salt).then(() => symlink(at('elsewhere'), salt))],
      ['too short', () => rm(salt).then(() => writeFile(salt, 'short', { mode: 0o600 }))],
    ]
    await writeFile(at('elsewhere'), kept, { mode: 0o600 })
    for (const [how, act] of spoil) {
      await instance.agent.stop()
      await act()
      // No agent comes up on it.
      await expect(instance.restartAgent(), how).rejects.toThrow('unsafe owner, mode or kind')
      await rm(salt)
      await writeFile(salt, kept, { mode: 0o600 })
    }
    await instance.restartAgent()
  })
})

describe('after its expiry, of a token', () => {
  test('no file of the agent has anything, even if it was revoked before', async () => {
    const unused = await makeToken(instance.metadataSocket, 2)
    const revoked = await makeToken(instance.metadataSocket, 2)
    const revoke = (token: string) =>
      call(instance.adminSocket, {
        method: 'POST',
        path: '/metabind/v1/revoke',
        headers: ['Content-Type', 'application/json'],
        body: JSON.stringify({ token }),
      })
    expect((await revoke(revoked)).status).toBe(200)
    expect(traces(revoked)).not.toEqual([])
    await delay(1050)
    expect(refusal(await read(instance.metadataSocket, WHOAMI, revoked))).toMatch(/^401 /)
    for (const token of [unused, revoked]) await expect.poll(() => traces(token)).toEqual([])
  })

  /** Files with the token, its random part or its MAC, as text, hex or bytes. */
  function traces(token: string): string[] {
    const bytes = Buffer.from(token, 'base64url')
    const parts = [bytes.subarray(24, 32), bytes.subarray(32)]
    const spellings = [Buffer.from(token), ...parts]
    spellings.push(...parts.map((part) => Buffer.from(part.toString('hex'))))
    const { runtimeDirectory, stateDirectory, directory } = instance
    const paths = [runtimeDirectory, stateDirectory].flatMap((parent) =>
      readdirSync(parent).map((name) => join(parent, name)),
    )
    return [...paths, join(directory, 'agent.log')].filter((path) => {
      const content = readFileSync(path)
      return spellings.some((spelling) => content.includes(spelling))
    })
  }
})
