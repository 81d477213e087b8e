import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundle } from '../../packaging/bundle.ts'
import { readWrapper } from '../../packaging/wrapper.ts'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken, scratch } from '../harness/metabind.ts'

/** The commands as packages install them: by their wrappers, with the bundle, under any /bin/sh. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SHELLS = ['dash', 'bash', 'busybox'].filter((shell) =>
  (process.env.PATH ?? '').split(delimiter).some((place) => isThere(join(place, shell))),
)
// Settings for another Node or OpenSSL that would be noticed.
const foreignSettings = () => ({
  NODE_OPTIONS: '--require=/nonexistent.js',
  NODE_V8_COVERAGE: at('coverage'),
  NODE_COMPILE_CACHE: at('compile-cache'),
  NODE_REDIRECT_WARNINGS: at('warnings'),
  NODE_EXTRA_CA_CERTS: '/nonexistent.pem',
  NODE_DEBUG: 'net,http,module',
  NODE_NEW_IN_SOME_LATER_RELEASE: 'a\nNODE_IN_A_VALUE=1',
  OPENSSL_CONF: at('openssl.cnf'),
  UV_THREADPOOL_SIZE: '1',
})

const stack = new AsyncDisposableStack()
let directory: string
let instance: Instance
let env: NodeJS.ProcessEnv

const at = (name: string) => join(directory, name)

function isThere(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false
  }
}

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  mkdirSync(at('lib/bin'), { recursive: true })
  symlinkSync(process.execPath, at('lib/bin/node'))
  await bundle(at('lib'))
  const require = createRequire(join(ROOT, 'native/tpm2-js/package.json'))
  const koffi = dirname(require.resolve(`@koromix/koffi-linux-${process.arch}`))
  const native = process.arch === 'x64' ? 'linux_x64' : 'linux_arm64'
  copyFileSync(join(koffi, native, 'koffi.node'), at('lib/koffi.node'))
  for (const shell of SHELLS) {
    symlinkSync(execFileSync('which', [shell], { encoding: 'utf8' }).trim(), at(`${shell}-sh`))
    // Under the name of sh, as which they run scripts; busybox goes by its argument.
    const start = shell === 'busybox' ? `${at('busybox-sh')} sh` : at(`${shell}/sh`)
    mkdirSync(at(shell))
    symlinkSync(at(`${shell}-sh`), at(`${shell}/sh`))
    for (const name of ['metabind', 'metabindd']) {
      const script = readWrapper(ROOT, `packaging/${name}.sh`)
        .replaceAll('/usr/lib/metabind', at('lib'))
        .replace('#!/bin/sh', `#!${start}`)
      writeFileSync(at(`${shell}/${name}`), script)
      chmodSync(at(`${shell}/${name}`), 0o755)
    }
  }
  writeFileSync(at('openssl.cnf'), 'openssl_conf = x\n[x]\nproviders = p\n[p]\nnone = nowhere\n')
  const home = stack.use(await scratch()).path
  const config = `[credentials_uri]\nenabled = true\nport = ${await freePort()}\n`
  instance = await startInstance(home, { role: 'app-role', config })
  stack.defer(() => instance.stop())
  writeFileSync(at('token'), await newToken(instance))
  env = {
    PATH: process.env.PATH,
    HOME: directory,
    METABIND_SOCKET: instance.metadataSocket,
    METABIND_ADMIN_SOCKET: instance.adminSocket,
  }
})
afterAll(() => stack.disposeAsync())

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

function run(command: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const [file = '', ...args] = command
  return new Promise((resolve) => {
    const options = { env: { ...env, ...more }, timeout: 120_000 }
    const child = execFile(file, args, options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
    )
    child.stdin?.end()
  })
}

describe.each(SHELLS)('under %s', (shell) => {
  const metabind = () => at(`${shell}/metabind`)

  test.each([
    ['metabind', ['get', 'instance-id'], /^i-/],
    ['metabind', ['exec', '--with', 'env', 'echo', 'done'], /^done\n$/],
    ['metabindd', ['--version'], /^metabindd /],
  ])('settings for another Node do not reach %s %j', async (name, args, said) => {
    const { code, stdout, stderr } = await run([at(`${shell}/${name}`), ...args], foreignSettings())
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(said)
    const left = ['coverage', 'compile-cache', 'warnings'].filter((name) => isDirectory(at(name)))
    expect(left).toEqual([])
  })

  test('exec changes nothing of what the command is started with', async () => {
    // Who calls: a signal ignored, another blocked, SIGPIPE as by default, few descriptors, no input,
    // a descriptor of its own, a mask, and settings for its Node.
    const caller = `
import os, resource, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 1000))
os.umask(0o027)
os.dup2(os.open('/etc/passwd', os.O_RDONLY), 7)
os.set_inheritable(7, True)
os.close(0)
os.execv(sys.argv[1], sys.argv[1:])
`
    const settings = { NODE_OPTIONS: '--no-warnings', NODE_PATH: '/x', line: 'mine' }
    const through = async (...words: readonly string[]) => {
      const ended = await run(['python3', '-c', caller, ...words], settings)
      // Numbers of pipes differ from one process to the next.
      return ended.stdout.replaceAll(/\[\d+\]/g, '')
    }
    const wrapped = [metabind(), 'exec', '--role=app-role', '--']
    const looks: readonly (readonly [readonly string[], RegExp])[] = [
      [
        ['grep', '-E', '^(Sig(Ign|Blk)|Umask|NoNewPrivs):', '/proc/self/status'],
        /SigBlk:\s0{13}800/,
      ],
      [['cat', '/proc/self/limits'], /^Max open files +200 +1000 /m],
      // Descriptor 0 is free, and becomes that of the folder.
      [['readlink', '/proc/self/fd/1', '/proc/self/fd/2', '/proc/self/fd/7'], /passwd$/m],
      [['ls', '/proc/self/fd'], /^0\n1\n2\n(\d+\n)*7\n/],
      [['grep', 'flags', '/proc/self/fdinfo/1'], /^flags:\t/],
      [['printenv', 'NODE_OPTIONS', 'NODE_PATH', 'line'], /^--no-warnings\n\/x\nmine\n$/],
    ]
    for (const [look, shows] of looks) {
      const [file = '', ...args] = look
      const plain = await through(
        execFileSync('which', [file], { encoding: 'utf8' }).trim(),
        ...args,
      )
      expect(plain).toMatch(shows)
      expect(await through(...wrapped, ...look)).toBe(plain)
    }
  })

  test('exec takes words as they are, and gives back what the command ends with', async () => {
    const words = ['a b', '', "it's", '$(echo no)', '*', '--help', '\n']
    const print = 'printf "<%s>" "$@"; exit 7'
    const ended = await run([metabind(), 'exec', '--', 'sh', '-c', print, 'sh', ...words])
    expect(ended).toMatchObject({ code: 7, stdout: words.map((word) => `<${word}>`).join('') })
    const killed = await run([metabind(), 'exec', 'sh', '-c', 'kill -TERM $$'])
    expect(killed).toMatchObject({ code: null, signal: 'SIGTERM' })
  })

  test('exec sets the environment, and takes away what would win over it', async () => {
    const before = {
      ALIBABA_CLOUD_ACCESS_KEY_ID: 'old',
      NO_PROXY: "it's,example.org",
      kept: "it's",
    }
    const print = 'env | sort | grep -iE "^(ALIBABA|METABIND|NO_PROXY|kept)"'
    const { stdout } = await run([metabind(), 'exec', 'sh', '-c', print], before)
    expect(stdout.trim().split('\n')).toEqual(
      expect.arrayContaining([
        'ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true',
        expect.stringMatching(/^ALIBABA_CLOUD_CREDENTIALS_URI=http:\/\/127\.0\.0\.1:/),
        'ALIBABA_CLOUD_ECS_METADATA_DISABLED=true',
        'ALIBABA_CLOUD_IMDSV1_DISABLED=true',
        `METABIND_SOCKET=${instance.metadataSocket}`,
        "NO_PROXY=it's,example.org,127.0.0.1",
        "kept=it's",
        "no_proxy=it's,example.org,127.0.0.1",
      ]),
    )
    expect(stdout).not.toContain('old')
  })

  test.each([
    ['a command that is not there', ['no-such-command'], 127, /there is no command/],
    ['a path that is not there', ['/no/such'], 127, /there is no command/],
    ['a file that is no program', ['/etc/passwd'], 126, /cannot be executed/],
    ['a directory', ['/etc'], 126, /cannot be executed/],
    ['no command', [], 2, /COMMAND is missing/],
    ['an unknown option', ['--nothing=1', 'true'], 2, /there is no option/],
    ['no agent', ['--socket', '/nonexistent', 'true'], 1, /SOCKET_ABSENT/],
  ])('exec: %s', async (_what, args, code, said) => {
    const ended = await run([metabind(), 'exec', ...args])
    expect(ended).toMatchObject({ code, stdout: '' })
    expect(ended.stderr).toMatch(/^metabind: [^\n]+\n$/)
    expect(ended.stderr).toMatch(said)
  })

  test('exec --help is the help, and -V the version', async () => {
    for (const [word, said] of [
      ['--help', /^Usage: metabind exec /],
      ['-h', /^Usage: metabind exec /],
      ['-V', /^metabind \d/],
      ['--version', /^metabind \d/],
    ] as const) {
      const { code, stdout, stderr } = await run([metabind(), 'exec', word])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(said)
    }
  })
})

test('the client verbs work where no code may be made at run time', async (context) => {
  // prctl(2) PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN: what systemd sets for MemoryDenyWriteExecute=yes.
  const denied = `
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
`
  const wrapper = at(`${SHELLS[0]}/metabind`)
  const under = (...args: string[]) => run(['python3', '-c', denied, wrapper, ...args])
  const tried = await run(['python3', '-c', denied, process.execPath, '--version'])
  if (tried.code === 99) context.skip('the kernel does not know PR_SET_MDWE: it is before 6.3')
  const nonce = 'ab'.repeat(32)
  writeFileSync(at('lockdown.toml'), '[transparent]\nenabled = true\n')
  for (const [args, code] of [
    [['get', 'instance-id'], 0],
    [['token'], 0],
    [['credential'], 0],
    [['credential', '--uri'], 0],
    [['exec', 'true'], 0],
    [['exec', '--with', 'env', 'sh', '-c', 'exit 9'], 9],
    [['status'], 0],
    [['inspect', at('token')], 0],
    [['identity', '--audience', 'a'], 0],
    [['evidence', '--nonce', nonce, '--out', at('evidence')], 0],
    [['explain', 'root', 'instance-id'], 0],
    [['observe'], 0],
    // It loads the native module, to ask the kernel.
    [['lockdown', 'on', '--preview', '--user', 'nobody', '--config', at('lockdown.toml')], 0],
    [['verify', at('evidence'), '--nonce', nonce], 1],
    [['config', 'check', '/dev/null'], 0],
    [['policy', 'check', at('policy.toml')], 1],
    [['revoke', at('token')], 0],
  ] as [string[], number][]) {
    const ended = await under(...args)
    expect({ args, ...ended }).toMatchObject({ code, signal: null })
    expect(ended.stderr).not.toMatch(/Fatal error/)
  }
  expect((await under('doctor')).stdout).not.toMatch(/-failed/)
})

describe('what SDKs and scripts run each time loads little', () => {
  const BYTES_MAX = 131_072
  // What Node itself loads by and by, and what it takes to speak HTTP, is not here.
  const SLOW_PARTS = ['crypto', 'worker_threads', 'inspector']
  const probe = `
const parts = new Set(process.moduleLoadList)
process.on('exit', () => {
  const files = Object.keys(require.cache).filter((file) => file !== __filename)
  const loaded = process.moduleLoadList.filter((part) => !parts.has(part))
  require('node:fs').writeFileSync(process.env.LOADED, JSON.stringify({ files, loaded }))
})
`
  test.each([
    [['get', 'instance-id']],
    [['token']],
    [['credential']],
    [['credential', '--uri']],
    [['exec', '--script', 'true']],
  ])('%j', async (args) => {
    writeFileSync(at('probe.cjs'), probe)
    const program = [process.execPath, '--require', at('probe.cjs'), at('lib/metabind.cjs')]
    const ended = await run([...program, ...args], { LOADED: at('loaded.json') })
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { files, loaded } = JSON.parse(readFileSync(at('loaded.json'), 'utf8'))
    const text = files.map((file: string) => readFileSync(file, 'utf8')).join('')
    expect(files.length).toBeLessThan(6)
    expect(text.length).toBeLessThan(BYTES_MAX)
    expect(text.match(/ZodError|PkiObject|FST_ERR|dlopen/g)).toBeNull()
    expect(SLOW_PARTS.filter((part) => loaded.includes(`NativeModule ${part}`))).toEqual([])
  })
})

test('the unit takes away every setting that Node knows', async () => {
  const unit = readFileSync(join(ROOT, 'systemd/metabindd.service'), 'utf8')
  const taken = [...unit.matchAll(/^UnsetEnvironment=(.+)$/gm)].flatMap(([, names = '']) =>
    names.split(' '),
  )
  const help = spawn(process.execPath, ['--help'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const known = (await text(help.stdout)).match(/^(NODE|UV)_\w+/gm) ?? []
  expect(known.length).toBeGreaterThan(10)
  expect(taken).toEqual(expect.arrayContaining([...known, 'OPENSSL_CONF', 'NODE_COMPILE_CACHE']))
})

function isDirectory(path: string): boolean {
  try {
    readdirSync(path)
    rmSync(path, { recursive: true })
    return true
  } catch {
    return isThere(path)
  }
}
