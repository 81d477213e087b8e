import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  CAN_COMPILE,
  compile,
  convertReference,
  NEEDS,
  type Policy,
  type Rule,
} from './selinux-policy.ts'

/**
 * What the SELinux module allows, by the rules of a compiled policy. Nothing runs under it here: whether it is
 * enough for the agent, only an enforcing machine can show.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const WRITES = ['write', 'append', 'create', 'unlink', 'link', 'rename', 'setattr']
const OWN_DATA = ['metabind_log_t', 'metabind_run_t', 'metabind_var_lib_t']
// secilc itself says whether a rule of the module, of Debian's policy or of a boolean breaks one of these.
const NEVER = `
(neverallow metabind_t etc_t (file (write append create unlink)))
(neverallow metabind_t etc_t (dir (write add_name)))
(neverallow metabind_t metabind_etc_t (file (write append create unlink)))
(neverallow metabind_t metabind_exec_t (file (write append create unlink)))
(neverallow metabind_t shell_exec_t (file (execute execute_no_trans)))
(neverallow metabind_t domain (process (ptrace transition dyntransition)))
(neverallow metabind_t shadow_t (file (read open)))
(neverallow metabind_t security_t (security (load_policy setenforce)))
(neverallow metabind_t self (capability (sys_admin sys_module dac_override net_admin net_raw setuid)))
(neverallow metabind_t fixed_disk_device_t (blk_file (read write)))
`
if (!CAN_COMPILE) process.stderr.write(`skipped: the SELinux module: ${NEEDS}\n`)

const named = (rules: readonly Rule[]) => [...new Set(rules.map(({ target }) => target))].sort()
const isInForce = ({ condition }: Rule) => condition === undefined

describe.skipIf(!CAN_COMPILE)(`the SELinux module [${NEEDS}]`, () => {
  let reference: string[]
  let policy: Policy
  let ofAgent: readonly Rule[]
  let ofSystemd: readonly Rule[]
  let directory: string
  const work = () => mkdtempSync(join(directory, 'policy-'))

  beforeAll(async () => {
    directory = mkdtempSync('/tmp/metabind-selinux-')
    reference = await convertReference(directory)
    policy = await compile(work(), reference, NEVER)
    ofAgent = await policy.allowed('-s', 'metabind_t')
    ofSystemd = await policy.allowed('-s', 'init_t', '-t', 'metabind_t')
    return () => rmSync(directory, { recursive: true })
  })

  const may = (kind: string, ...permissions: readonly string[]) =>
    ofAgent.filter(
      (rule) =>
        rule.kind === kind &&
        permissions.some((permission) => rule.permissions.includes(permission)),
    )

  test.each([
    ['(allow metabind_t etc_t (file (write)))'],
    ['(allow metabind_t file_type (file (write)))'],
    ['(allow metabind_t exec_type (file (execute)))'],
    ['(allow metabind_t domain (process (ptrace)))'],
  ])('is refused by the compiler with %s', async (rule) => {
    await expect(compile(work(), reference, NEVER + rule)).rejects.toThrow(/neverallow/i)
  })

  test('gives the registrar no label but that of what it is configured by', async () => {
    const node = await policy.typeAt('/usr/lib/metabind-registrar/bin/node', 'file')
    expect(node).toBe('bin_t')
    const types = ['/etc/metabind/registrar.toml', '/var/lib/metabind-registrar/registrar.db']
    expect(await Promise.all(types.map((path) => policy.typeAt(path, 'file')))).toEqual([
      'metabind_etc_t',
      'var_lib_t',
    ])
    // What systemd starts of that type is in the domain of services without a policy: in Debian's, initrc_t.
    expect(await policy.sesearch('-T', '-s', 'init_t', '-t', node, '-c', 'process')).toEqual([
      'type_transition init_t bin_t:process initrc_t;',
    ])
    const reads = await policy.allowed('-s', 'initrc_t', '-t', 'metabind_etc_t', '-c', 'file')
    expect(reads.flatMap(({ permissions }) => permissions)).toEqual(
      expect.arrayContaining(['open', 'read']),
    )
  })

  test('systemd starts the agent in a domain of its own, also with NoNewPrivileges=', async () => {
    const options = ['-T', '-s', 'init_t', '-t', 'metabind_exec_t', '-c', 'process']
    expect(await policy.sesearch(...options)).toEqual([
      'type_transition init_t metabind_exec_t:process metabind_t;',
    ])
    const given = ofSystemd.flatMap(({ kind, permissions }) =>
      permissions.map((permission) => `${kind} ${permission}`),
    )
    expect(given).toEqual(
      expect.arrayContaining([
        'process transition',
        // LimitNOFILE= would be lost without.
        'process rlimitinh',
        'process2 nnp_transition',
        'process2 nosuid_transition',
      ]),
    )
    // LD_PRELOAD and its like end at the transition.
    expect(ofSystemd.filter(({ target }) => target === 'metabind_t')).not.toContainEqual(
      expect.objectContaining({ permissions: expect.arrayContaining(['noatsecure']) }),
    )
    expect(named(may('file', 'entrypoint'))).toEqual(['metabind_exec_t'])
  })

  test('is enforced, unless the second module is loaded', async () => {
    expect((await policy.seinfo('--permissive')).join()).not.toContain('metabind_t')
    const both = await compile(work(), reference, '', ['metabind.cil', 'metabind_permissive.cil'])
    expect((await both.seinfo('--permissive')).join()).toContain('metabind_t')
  })

  test('the agent may use the TPM', () => {
    const [rule] = ofAgent.filter(({ target }) => target === 'tpm_device_t')
    expect(rule).toMatchObject({ kind: 'chr_file', condition: undefined })
    expect(rule?.permissions).toEqual(expect.arrayContaining(['open', 'read', 'write', 'ioctl']))
  })

  test('and no other device that keeps anything', () => {
    expect(named(may('chr_file', 'write').filter(isInForce))).toEqual([
      'devtty_t',
      'initrc_devpts_t',
      'null_device_t',
      'tpm_device_t',
      'zero_device_t',
    ])
    expect(may('blk_file', 'read', 'write')).toEqual([])
  })

  test('it changes files and folders of its own, and no others', () => {
    const files = named(may('file', ...WRITES).filter(isInForce))
    // metabind_t is its own /proc.
    expect(files.filter((type) => type !== 'metabind_t')).toEqual(OWN_DATA)
    const entries = ['write', 'add_name', 'remove_name', 'create', 'rmdir']
    expect(named(may('dir', ...entries).filter(isInForce))).toEqual(OWN_DATA)
    expect(may('lnk_file', ...WRITES).filter(isInForce)).toEqual([])
    expect(named(may('sock_file', 'create', 'unlink', 'rename'))).toEqual([
      'metabind_admin_sock_t',
      'metabind_run_t',
    ])
  })

  test('it executes no program but its own; with a boolean that is off, those that getent is among', async () => {
    const programs = may('file', 'execute_no_trans')
    expect(named(programs)).toEqual(['bin_t', 'metabind_exec_t'])
    const getent = programs.filter(({ target }) => target === 'bin_t')
    expect(getent.map(({ condition }) => condition)).toEqual(['metabind_use_getent true'])
    expect((await policy.seinfo('-b', 'metabind_use_getent', '-x')).join('\n')).toMatch(/false;/)
  })

  test('it reads who calls in /proc', () => {
    for (const kind of ['dir', 'file', 'lnk_file']) {
      expect(named(may(kind, 'read'))).toContain('domain')
    }
  })

  test('it connects to the metadata service and to name servers, and listens on no reserved port', () => {
    expect(named(may('tcp_socket', 'name_connect').filter(isInForce))).toEqual([
      'dns_port_t',
      'http_port_t',
    ])
    expect(named(may('tcp_socket', 'name_bind').filter(isInForce))).toEqual(['unreserved_port_t'])
    expect(may('netlink_route_socket', 'nlmsg_write')).toEqual([])
  })

  test('it may have the kernel load the module that knows whose a TCP connection is', () => {
    const asked = may('system', 'module_request')
    expect(named(asked)).toEqual(['kernel_t'])
    expect(asked.map(({ permissions, condition }) => [permissions, condition])).toEqual([
      [['module_request'], undefined],
    ])
    // It asks, and loads nothing itself.
    expect(may('system', 'module_load')).toEqual([])
  })

  test('every domain may ask for metadata while a boolean is on, and none if it is off', async () => {
    const options = ['-t', 'metabind_run_t', '-c', 'sock_file', '-p', 'write']
    const rules = await policy.allowed('-s', 'httpd_t', ...options)
    expect(rules.map(({ condition }) => condition)).toEqual(['metabind_connect_all true'])
    expect((await policy.seinfo('-b', 'metabind_connect_all', '-x')).join('\n')).toMatch(/true;/)
  })

  test('but those that a module of the machine names', async () => {
    const mine = '(typeattributeset metabind_client (httpd_t))'
    const other = await compile(work(), reference, mine)
    const options = ['-s', 'httpd_t', '-t', 'metabind_t', '-c', 'unix_stream_socket']
    const rules = await other.allowed(...options, '-p', 'connectto')
    expect(rules.filter(isInForce)).toHaveLength(1)
  })

  test('the admin socket is closed to confined domains', async () => {
    const options = ['-t', 'metabind_admin_sock_t', '-c', 'sock_file', '-p', 'write']
    expect(await policy.allowed('-s', 'httpd_t', ...options)).toEqual([])
    expect(await policy.allowed('-s', 'unconfined_t', ...options)).not.toEqual([])
  })

  test('what the units make has its types, by either spelling of /run', async () => {
    const unit = (name: string) => readFileSync(join(ROOT, 'systemd', name), 'utf8')
    const value = (name: string, key: string) =>
      new RegExp(`^${key}=(\\S+)`, 'm').exec(unit(name))?.[1] ?? ''
    const service = (key: string) => value('metabindd.service', key)
    const socket = (name: string) => value(name, 'ListenStream').replace(/^\/run\//, '')
    const made = [
      [service('ExecStart'), 'file', 'metabind_exec_t'],
      [`/var/lib/${service('StateDirectory')}`, 'dir', 'metabind_var_lib_t'],
      [`/var/lib/${service('StateDirectory')}/clock`, 'file', 'metabind_var_lib_t'],
      [`/var/log/${service('LogsDirectory')}`, 'dir', 'metabind_log_t'],
      [`/var/log/${service('LogsDirectory')}/audit.log`, 'file', 'metabind_log_t'],
      [`/etc/${service('ConfigurationDirectory')}`, 'dir', 'metabind_etc_t'],
      ...['/run', '/var/run'].flatMap((run) => [
        [`${run}/${service('RuntimeDirectory')}`, 'dir', 'metabind_run_t'] as const,
        [`${run}/${socket('metabind.socket')}`, 'socket', 'metabind_run_t'] as const,
        [`${run}/${socket('metabind-admin.socket')}`, 'socket', 'metabind_admin_sock_t'] as const,
      ]),
    ] as const
    for (const [path, kind, type] of made) expect(await policy.typeAt(path, kind), path).toBe(type)
    // And no context is for what nothing makes.
    const without = policy.ownPaths.filter(
      (expression) => !made.some(([path]) => new RegExp(`^${expression}$`).test(path)),
    )
    expect(without).toEqual([])
  })
})
