import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Our SELinux module, compiled into the reference policy of Debian. */

const run = promisify(execFile)
const OURS = fileURLToPath(new URL('../../packaging/selinux/', import.meta.url))
const REFERENCE = '/usr/share/selinux/default'
const PP_TO_CIL = '/usr/libexec/selinux/hll/pp'
const LOOK_UP = '/usr/sbin/selabel_lookup'
const TOOLS = ['/usr/bin/secilc', '/usr/bin/sesearch', '/usr/bin/seinfo', LOOK_UP]
// base has init, systemd-tmpfiles and most of the system; apache is a confined caller.
const MODULES = ['base', 'unconfined', 'apache']

/** Whether all is installed that it takes. */
export const CAN_COMPILE = [REFERENCE, PP_TO_CIL, ...TOOLS].every((path) => existsSync(path))
export const NEEDS = 'apt-get install secilc selinux-policy-default selinux-utils setools'

type FileKind = 'file' | 'dir' | 'socket'

/** One `allow`, for a domain or for an attribute that it has. */
export interface Rule {
  readonly source: string
  readonly target: string
  readonly kind: string
  readonly permissions: readonly string[]
  /** The boolean that it is in force with, and with which value. */
  readonly condition: string | undefined
}

/** A compiled policy. */
export interface Policy {
  /** What sesearch finds, with these of its options. */
  allowed(...options: readonly string[]): Promise<Rule[]>
  sesearch(...options: readonly string[]): Promise<string[]>
  seinfo(...options: readonly string[]): Promise<string[]>
  /** @returns the type that a file of that kind gets at that path */
  typeAt(path: string, kind: FileKind): Promise<string>
  /** The expressions of its file contexts that give types of ours. */
  readonly ownPaths: readonly string[]
}

/** Debian's modules as CIL, in that directory; without the users who log in, for whom all modules are needed. */
export async function convertReference(directory: string): Promise<string[]> {
  const convert = `bzcat "$0" | ${PP_TO_CIL} | sed '/^(selinuxuser/d' >"$1"`
  const converted = MODULES.map(async (name) => {
    const to = join(directory, `${name}.cil`)
    const from = join(REFERENCE, `${name}.pp.bz2`)
    await run('bash', ['-o', 'pipefail', '-c', convert, from, to])
    return to
  })
  return Promise.all(converted)
}

/**
 * Compiles a policy, with every neverallow of Debian's in force.
 *
 * @param more CIL beside it
 * @throws Error with what secilc says
 */
export async function compile(
  directory: string,
  reference: readonly string[],
  more = '',
  modules = ['metabind.cil'],
): Promise<Policy> {
  const binary = join(directory, 'policy')
  const contexts = join(directory, 'file_contexts')
  const own = join(directory, 'more.cil')
  writeFileSync(own, more)
  const files = [...reference, ...modules.map((name) => join(OURS, name)), own]
  await run('secilc', ['-o', binary, '-f', contexts, ...files])

  const lines = async (program: string, options: readonly string[]) => {
    const { stdout } = await run(program, [binary, ...options], { maxBuffer: 2 ** 26 })
    return stdout.split('\n').filter((line) => line.trim() !== '')
  }
  const sesearch = (...options: readonly string[]) => lines('sesearch', options)
  return {
    sesearch,
    seinfo: (...options) => lines('seinfo', options),
    allowed: async (...options) => (await sesearch('-A', ...options)).map(ruleOf),
    typeAt: async (path, kind) => {
      const options = ['-b', 'file', '-f', contexts, '-k', path, '-t', kind]
      const { stdout } = await run(LOOK_UP, options)
      return typeIn(stdout)
    },
    ownPaths: readFileSync(contexts, 'utf8')
      .split('\n')
      .filter((line) => typeIn(line).startsWith('metabind_'))
      .map((line) => line.split('\t')[0] ?? ''),
  }
}

function typeIn(context: string): string {
  return /:object_r:(\w+):/.exec(context)?.[1] ?? ''
}

function ruleOf(line: string): Rule {
  const found = /^allow (\S+) (\S+):(\S+) (?:\{ (.+) \}|(\w+));(?: \[ (.+) \]:(\w+))?$/.exec(line)
  if (found === null) throw new Error(`sesearch says: ${line}`)
  const [, source = '', target = '', kind = '', many, one = '', boolean, value] = found
  const condition = boolean === undefined ? undefined : `${boolean} ${value?.toLowerCase()}`
  return { source, target, kind, permissions: many?.split(' ') ?? [one], condition }
}
