import assert from 'node:assert/strict'
import { parseCgroup } from '../../../src/caller/cgroup-place.ts'
import { listenersOn, socketBetween, socketsTo } from '../../../src/caller/proc-net-tcp.ts'
import {
  mapsEveryId,
  parsePidNamespaces,
  parseStartTime,
  parseStatus,
} from '../../../src/caller/proc-status.ts'
import { isRouteRefused } from '../../../src/lockdown/proc-net-route.ts'
import { Choices } from '../choices.ts'
import type { FuzzTarget } from '../target.ts'

const UNIT = /^[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|scope|socket|mount|swap)$/
// Empty for what the kernel does not write: `/lxc/`.
const CONTAINER = /^[^/\n]*$/
const FROM = { address: '127.0.0.1', port: 0x1f90 }
const TO = { address: '100.100.100.200', port: 80 }
const HEX = 'a'.repeat(64)
const NAMES = [
  ...[
    'app.service',
    'x.scope',
    'docker',
    HEX,
    `docker-${HEX}.scope`,
    'nested.service',
    '..',
    '',
    'a:b',
    '_x.service',
  ],
  ...[
    'system.slice',
    'user.slice',
    'user@1000.service',
    'lxc',
    'lxc.payload.c1',
    '\\x2d.slice',
    'init.scope',
  ],
] as const
const TCP_LINE =
  '   1: 0100007F:1F90 C8646464:0050 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 20 4 0 10 -1'
const TCP_PARTS = [
  ...[
    TCP_LINE,
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1',
  ],
  ...[
    '  sl  local_address rem_address   st',
    '0100007F:1F90',
    ' 0 ',
    '0000000000000000FFFF00000100007F:1F90',
    'x',
  ],
] as const

export const target: FuzzTarget = {
  execution:
    'one file of /proc read, in which a process chose what it can: its name, its cgroup, its sockets',
  bytesMax: 768,
  turns: 3,
  words: ['NSpid:\t', 'CapEff:\t', '.service', '.slice', '0::/', 'name=systemd', ...NAMES],
  seeds: () => [
    Buffer.concat([Buffer.of(0), Buffer.from('Name:\tx\nNSpid:\t1\nCapEff:\t0000000000000000\n')]),
    Buffer.concat([Buffer.of(0), Buffer.from('0::/system.slice/app.service\n')]),
    Buffer.concat([Buffer.of(0), Buffer.from(`${TCP_LINE}\n`)]),
    Buffer.concat([Buffer.of(1), Buffer.from(') R 1 (')]),
    Buffer.concat([Buffer.of(2), Buffer.from('x\\nNSpid:\t7')]),
    ...[3, 4, 5].map((kind) => Buffer.of(kind, 1, 2, 0, 3, 1, 4, 7, 9, 11)),
  ],
  run(input) {
    const choices = new Choices(input)
    const kinds = [anything, startTime, status, placeBelowUnit, place, sockets] as const
    choices.pick(kinds)(choices)
  },
}

/** Any text whatever: a value of its kind or none. */
function anything(choices: Choices): void {
  const text = choices.rest().toString('latin1')
  const pids = parsePidNamespaces(text)
  assert.ok(pids === undefined || pids >= 1)
  const parsed = parseStatus(text)
  assert.ok(parsed === undefined || (parsed.capabilities >= 0n && parsed.capabilities < 1n << 64n))
  assert.match(parseStartTime(text) ?? '0', /^\d+$/)
  mapsEveryId(text)
  requireNames(parseCgroup(text))
  for (const uid of listenersOn(text, FROM.port)) assert.equal(typeof uid, 'number')
  for (const { inode } of socketsTo(text, TO.address, TO.port)) assert.ok(inode > 0)
  isRouteRefused(text, TO.address)
}

/** A process may call itself anything (prctl(2), PR_SET_NAME): its start stays where the kernel put it. */
function startTime(choices: Choices): void {
  const name = choices.rest().toString('latin1')
  const fields = Array.from({ length: 49 }, (_, at) => (at === 19 ? '987654321' : String(at)))
  assert.equal(parseStartTime(`4711 (${name}) S ${fields.slice(1).join(' ')}\n`), '987654321')
}

/** The kernel escapes line ends and backslashes of a name (proc(5)). */
function status(choices: Choices): void {
  const name = choices.rest().toString('latin1').replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  const text = `Name:\t${name}\nUmask:\t0022\nState:\tS\nNSpid:\t4711\t1\nCapEff:\t0000000000000003\n`
  assert.equal(parsePidNamespaces(text), 2)
  assert.deepEqual(parseStatus(text), { pidNamespaces: 2, capabilities: 3n })
}

/** What a user makes below the unit that systemd gave is never another unit (Delegate=yes). */
function placeBelowUnit(choices: Choices): void {
  const below: string[] = []
  while (!choices.isEmpty && below.length < 8) {
    below.push(choices.isTrue() ? choices.pick(NAMES) : fileName(choices.text(40)))
  }
  const own = '0::/user.slice/user-1000.slice/user@1000.service'
  const found = parseCgroup(`${[own, ...below].join('/')}\n`)
  assert.equal(found.unit, 'user@1000.service')
  assert.equal(found.slice, 'user-1000.slice')
}

/** A cgroup's name has no slash and no line end; the kernel refuses both (cgroups(7)). */
function fileName(text: string): string {
  return text.replaceAll(/[/\n\0]/g, '-') || 'x'
}

/** Hierarchies of every version that may contradict one another. */
function place(choices: Choices): void {
  const lines: string[] = []
  while (!choices.isEmpty && lines.length < 12) {
    const controllers = choices.pick(['', 'name=systemd', 'cpu,cpuacct', 'memory', 'name=x', ':'])
    const path = Array.from({ length: choices.below(5) }, () => choices.pick(NAMES)).join('/')
    lines.push(`${lines.length}:${controllers}:/${path}`)
  }
  requireNames(parseCgroup(`${lines.join('\n')}\n`))
}

function requireNames({ unit, slice, container }: ReturnType<typeof parseCgroup>): void {
  if (unit !== undefined) assert.ok(UNIT.test(unit), unit)
  if (slice !== undefined) assert.ok(unit !== undefined && slice.endsWith('.slice'))
  if (container !== undefined) assert.ok(CONTAINER.test(container), container)
}

/** Tables whose lines are whole or not: who is named has a line with both ends, all by itself. */
function sockets(choices: Choices): void {
  const lines: string[] = []
  while (!choices.isEmpty && lines.length < 24) {
    const part = choices.pick(TCP_PARTS)
    lines.push(choices.isTrue() ? part : part.slice(choices.below(part.length)) + choices.text(16))
  }
  const text = `${lines.join('\n')}\n`
  const found = socketBetween(text, FROM, TO)
  const toIt = socketsTo(text, TO.address, TO.port)
  if (found === undefined) return
  assert.ok(toIt.some(({ uid, inode }) => uid === found.uid && inode === found.inode))
  const isLine = (line: string) => line.includes('0100007F:1F90') && line.includes('C8646464:0050')
  assert.ok(text.split('\n').some((line) => isLine(line) && line.includes(String(found.inode))))
}
