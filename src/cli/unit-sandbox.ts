import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** What the unit of the agent lets it do with files (systemd.exec(5)), as far as a configuration depends on it. */
export interface UnitSandbox {
  /** What it may write; undefined if ProtectSystem= leaves that to the owners and modes of files. */
  readonly writable: readonly string[] | undefined
  /** What it has of its own, or empty, in place of what the system has there. */
  readonly hidden: readonly string[]
  /** What IPAddressAllow= names; undefined if IPAddressDeny= keeps nothing away. */
  readonly addresses: readonly string[] | undefined
  /** What RestrictAddressFamilies= names. */
  readonly families: readonly string[]
}

const UNIT = 'metabindd.service'
/** Where units and their drop-ins are, the first in force (systemd.unit(5)). */
const UNIT_FOLDERS = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
]
const DIRECTIVE = /^([A-Za-z]+)=(.*)$/
/** Where systemd makes the directories that a unit names. */
const MADE_BELOW: Readonly<Record<string, string>> = {
  StateDirectory: '/var/lib',
  LogsDirectory: '/var/log',
  CacheDirectory: '/var/cache',
  RuntimeDirectory: '/run',
}
/** Of the kernel and of devices: ProtectSystem=strict leaves them out. */
const NEVER_PROTECTED = ['/dev', '/proc', '/sys']
const HOMES = ['/home', '/root', '/run/user']
const TEMPORARY = ['/tmp', '/var/tmp']

/**
 * Reads the unit that is installed, with its drop-ins. From files: it tells of what the next start has, also
 * before a daemon-reload and where no systemd runs.
 *
 * @param root of the system, `/` but for tests
 * @returns undefined if no unit of the agent is installed
 */
export function installedSandbox(root: string): UnitSandbox | undefined {
  const folders = UNIT_FOLDERS.map((folder) => join(root, folder))
  const main = folders
    .map((folder) => textOf(join(folder, UNIT)))
    .find((text) => text !== undefined)
  if (main === undefined) return undefined
  return sandboxOf(valuesIn([main, ...dropIns(folders)]))
}

/** @returns `read-only` if the agent could not write at `path`, `hidden` if what is there is not what it sees */
export function hindrance(sandbox: UnitSandbox, path: string): 'read-only' | 'hidden' | undefined {
  const real = realPath(path)
  const isIn = (folder: string) => `${real}/`.startsWith(`${realPath(folder)}/`)
  if (sandbox.hidden.some(isIn)) return 'hidden'
  if (sandbox.writable === undefined || sandbox.writable.some(isIn)) return undefined
  return 'read-only'
}

function sandboxOf(values: ReadonlyMap<string, readonly string[]>): UnitSandbox {
  const last = (name: string) => values.get(name)?.at(-1) ?? 'no'
  const all = (name: string) => (values.get(name) ?? []).flatMap((value) => value.split(/\s+/))
  const made = Object.entries(MADE_BELOW).flatMap(([name, folder]) =>
    // systemd 249 and later take NAME:LINK.
    all(name).map((directory) => join(folder, directory.split(':')[0] ?? '')),
  )
  // `-` says that it may be absent, `+` that it is below RootDirectory=.
  const named = all('ReadWritePaths').map((path) => path.replace(/^[-+]+/, ''))
  const isTrue = (value: string) => /^(yes|true|on|1|tmpfs|disconnected)$/.test(value)
  return {
    writable:
      last('ProtectSystem') === 'strict' ? [...NEVER_PROTECTED, ...made, ...named] : undefined,
    hidden: [
      ...(isTrue(last('ProtectHome')) ? HOMES : []),
      ...(isTrue(last('PrivateTmp')) ? TEMPORARY : []),
    ],
    addresses: all('IPAddressDeny').includes('any') ? all('IPAddressAllow') : undefined,
    families: all('RestrictAddressFamilies'),
  }
}

/** All values of each directive; an empty one takes back those before it. */
function valuesIn(files: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, readonly string[]>()
  for (const line of files.flatMap((text) => text.split('\n'))) {
    const [, name = '', value = ''] = DIRECTIVE.exec(line.trim()) ?? []
    values.set(name, value === '' ? [] : [...(values.get(name) ?? []), value.trim()])
  }
  return values
}

/** In the order of their names; of two of one name the one in the earlier folder is in force. */
function dropIns(folders: readonly string[]): string[] {
  const byName = new Map<string, string>()
  for (const folder of folders) {
    for (const name of namesIn(join(folder, `${UNIT}.d`))) {
      if (!byName.has(name)) byName.set(name, textOf(join(folder, `${UNIT}.d`, name)) ?? '')
    }
  }
  return [...byName].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, text]) => text)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.conf'))
  } catch {
    return []
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** As far as it is there; what is not is made later, by nobody who would make it a link. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const above = dirname(path)
    return above === path ? path : join(realPath(above), basename(path))
  }
}
