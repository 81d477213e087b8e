import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A token of SoftHSM in a directory of its own. What uses it has its `env`: the module knows its tokens by that alone. */
export interface SoftHsm {
  readonly module: string
  readonly label: string
  readonly pin: string
  /** A file with the PIN, as keys.pkcs11.pin has it. */
  readonly pinFile: string
  readonly env: Readonly<Record<string, string>>
  /** `[keys.pkcs11]` of a registrar's configuration. */
  readonly config: string
  /** What pkcs11-tool prints of the private keys, or of what else it is asked for, logged in as the user. */
  readonly tool: (...args: readonly string[]) => string
  /** Takes the token away, and puts it back. */
  readonly hide: () => Promise<void>
  readonly show: () => Promise<void>
}

const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
]
const PIN = '648219'

export async function softHsm(directory: string, label = 'registrar keys'): Promise<SoftHsm> {
  const module = MODULES.find((path) => existsSync(path))
  if (module === undefined) throw new Error('softhsm2 is not installed')
  const tokens = join(directory, 'tokens')
  await mkdir(tokens, { recursive: true })
  const file = join(directory, 'softhsm2.conf')
  await writeFile(file, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`)
  const pinFile = join(directory, 'pin')
  await writeFile(pinFile, `${PIN}\n`, { mode: 0o600 })
  const env = { SOFTHSM2_CONF: file }
  const run = (program: string, args: readonly string[]) =>
    execFileSync(program, args, { env: { ...process.env, ...env }, encoding: 'utf8' })
  run('softhsm2-util', [
    ...['--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '75310864'],
  ])
  return {
    ...{ module, label, pin: PIN, pinFile, env },
    config: `[keys.pkcs11]\nmodule = "${module}"\ntoken = "${label}"\npin = "${pinFile}"\n`,
    tool: (...args) =>
      run('pkcs11-tool', [
        ...['--module', module, '--token-label', label, '--login', '--pin', PIN],
        ...args,
      ]),
    hide: () => rename(tokens, `${tokens}.away`),
    show: () => rename(`${tokens}.away`, tokens),
  }
}

const P11_KIT = [
  '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so',
  '/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so',
]

/** The module that asks a daemon, at the socket that P11_KIT_SERVER_ADDRESS names. */
export function p11KitClient(): string {
  const module = P11_KIT.find((path) => existsSync(path))
  if (module === undefined) throw new Error('p11-kit-modules is not installed')
  return module
}
