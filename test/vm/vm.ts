import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildSync } from 'esbuild'
import {
  findAccelerator,
  type Guest,
  type Hardware,
  type Image,
  makeGuest,
  type Payload,
} from './guest.ts'
import { counted, Judge, say } from './judge.ts'

/**
 * `./dev vm`: two Debian guests, each with a TPM of its own, systemd as their first process, and
 * the DEB installed as a user would. What a guest says is judged out here.
 */

const HERE = fileURLToPath(new URL('.', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const WORK = join(ROOT, '.dev/vm')
const A = 'i-guesta00000000000000'
const B = 'i-guestb00000000000000'
const NEXT_VERSION = '99.0.0'
const IMAGE_FILES = [
  '../harness/debian-root',
  'image',
  'fetch-kernel',
  'guest-start',
  'guest.service',
]
// How many processors a guest of each release has under emulation. With two, Linux 6.12 once ended in an
// int3 oops: it had patched its own code (a static key), and the other processor ran a stale translation.
const SUITES: Readonly<Record<string, number>> = { bullseye: 2, bookworm: 2, trixie: 1 }
// v1 without a v2 hierarchy beside it, as RHEL 8 and its likes have it. systemd 257 has no v1 any more.
const CGROUPS: Readonly<Record<string, string>> = {
  v1: 'systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1',
  v2: 'systemd.unified_cgroup_hierarchy=1',
}

// Each is a boot of its own; all but the first find what that one has installed; those of the registrar
// build on each other.
const DAY_TWO: Readonly<Record<string, Hardware>> = {
  first: {},
  running: {},
  hidepid: {},
  late_tpm: {},
  soft_reboot: {},
  kexec_reboot: {},
  suspended: {},
  registrar: {},
  registrar_files: {},
  registrar_booted: {},
  no_tpm: { tpm: false },
  read_only: { kernelArguments: 'ro' },
}

/** Built once for each release of Debian and each state of the files that it is made from. */
function theImage({ suite, cgroup }: Settings): Image {
  const hash = createHash('sha256')
  for (const file of IMAGE_FILES) hash.update(readFileSync(join(HERE, file)))
  const directory = join(WORK, `${suite}-${hash.digest('hex').slice(0, 16)}`)
  if (!existsSync(join(directory, 'root.ext4'))) {
    say(`building the image of the guests: ${suite}`)
    execFileSync(join(HERE, 'image'), [suite, directory], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  return {
    root: join(directory, 'root.ext4'),
    kernel: join(directory, 'vmlinuz'),
    emulatedProcessors: SUITES[suite] ?? 1,
    kernelArguments: CGROUPS[cgroup] ?? '',
  }
}

function buildPackage(name: string, version?: string): string {
  const out = join(WORK, `packages-${version ?? 'own'}`)
  const args = [
    'packaging/package.ts',
    '--fast',
    '--package',
    name,
    '--arch',
    'amd64',
    '--format',
    'deb',
    '--out',
    out,
  ]
  if (version !== undefined) args.push('--version', version)
  const line = execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
  return join(out, line.trim().split(/ +/)[1] ?? '')
}

/** A program as one file, for the runtime in the guest. */
function program(name: string): string {
  const built = buildSync({
    entryPoints: [join(HERE, name)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
  })
  return built.outputFiles[0]?.text ?? ''
}

function payload(script: string, settings: Record<string, string>, more: Payload = {}): Payload {
  const assignments = Object.entries(settings).map(([name, value]) => `${name}='${value}'\n`)
  return {
    run: { file: join(HERE, script) },
    'library.sh': { file: join(HERE, 'library.sh') },
    'settings.sh': { text: assignments.join('') },
    ...more,
  }
}

interface Settings {
  readonly short: string
  readonly suite: string
  readonly cgroup: string
  readonly dayTwo: boolean
  /** Which phases of the second day, beside the first. */
  readonly only: readonly string[]
}

function settings(): Settings {
  const options = {
    short: { type: 'boolean', default: false },
    'day-two': { type: 'boolean', default: false },
    suite: { type: 'string', default: 'bookworm' },
    cgroup: { type: 'string', default: 'v2' },
    only: { type: 'string', default: Object.keys(DAY_TWO).join(',') },
  } as const
  const { short, suite, cgroup, 'day-two': dayTwo, only } = parseArgs({ options }).values
  if (!Object.hasOwn(SUITES, suite))
    throw new Error(`--suite takes one of ${Object.keys(SUITES).join(', ')}`)
  if (!Object.hasOwn(CGROUPS, cgroup)) throw new Error('--cgroup takes v1 or v2')
  const phases = only.split(',')
  if (!phases.every((phase) => Object.hasOwn(DAY_TWO, phase)))
    throw new Error(`--only takes some of ${Object.keys(DAY_TWO).join(',')}`)
  return { short: short ? 'yes' : '', suite, cgroup, dayTwo, only: phases }
}

/** A row for the table of results in docs/install.md. */
function result({ suite, cgroup, short, dayTwo, only }: Settings): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim()
  const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' and changes'
  const columns = [
    suite,
    cgroup,
    dayTwo ? `day two: ${only.join(', ')}` : short === '' ? 'full' : 'short',
    new Date().toISOString().slice(0, 10),
    `${git('rev-parse', '--short=9', 'HEAD')}${changed}`,
    String(counted().passed),
    String(counted().failed.length),
  ]
  return `| ${columns.join(' | ')} |`
}

async function main(): Promise<void> {
  const chosen = settings()
  mkdirSync(WORK, { recursive: true })
  const image = theImage(chosen)
  say('building the packages')
  const debs: Payload = { 'metabind.deb': { file: buildPackage('metabind') } }
  const accelerator = await findAccelerator(image, WORK)
  say(`booting guests by ${accelerator === 'kvm' ? 'KVM' : 'emulation, as KVM is not usable here'}`)
  const guest = (name: string): Guest => makeGuest(join(WORK, name), image, accelerator)
  if (chosen.dayTwo) {
    await dayTwo(guest('day-two'), chosen, { ...debs, vmlinuz: { file: image.kernel } })
  } else {
    const next = { 'metabind-next.deb': { file: buildPackage('metabind', NEXT_VERSION) } }
    await twoGuests(guest, chosen, { ...debs, ...next })
  }
  end(chosen)
}

async function twoGuests(
  guest: (name: string) => Guest,
  { short, suite, cgroup }: Settings,
  debs: Payload,
): Promise<void> {
  const about = { suite, cgroup, short }
  const a = guest('a')
  const first = new Judge('A')
  const more = {
    ...debs,
    'lockdown.sh': { file: join(HERE, 'lockdown.sh') },
    'lockdown-refused.sh': { file: join(HERE, 'lockdown-refused.sh') },
    'load-until.mjs': { text: program('load-until.ts') },
  }
  const firstBoot = a.boot(payload('first-boot.sh', { instance_id: A, ...about }, more), first)
  const firstEnds = first.of(firstBoot)
  // B starts while A goes on.
  const foreign = {
    'foreign-token': { text: await firstBoot.data('token') },
    'foreign-state': { text: await firstBoot.data('state') },
  }
  const names = { instance_id: B, foreign_id: A, ...about }
  const files = payload('other-guest.sh', names, { ...debs, ...foreign })
  const otherEnds = boots(guest('b'), 'B', files)
  await firstEnds
  await boots(a, 'A again', payload('second-boot.sh', { instance_id: A, ...about }, debs))
  await otherEnds
  const atBoot = { ...debs, 'lockdown-at-boot.sh': { file: join(HERE, 'lockdown-at-boot.sh') } }
  await boots(a, 'A once more', payload('third-boot.sh', { instance_id: A, ...about }, atBoot))
}

const REGISTRAR_PHASES = ['registrar', 'registrar_files', 'registrar_booted']

/** What the phases of the registrar have besides. */
function registrarFiles(): Payload {
  const scripts = ['library', 'files', 'booted'].map((name) => `registrar-${name}.sh`)
  return {
    ...Object.fromEntries(
      ['registrar.sh', ...scripts].map((name) => [name, { file: join(HERE, name) }]),
    ),
    'metabind-registrar.deb': { file: buildPackage('metabind-registrar') },
    'metabind-registrar-next.deb': { file: buildPackage('metabind-registrar', NEXT_VERSION) },
    'verify-token.mjs': { text: program('verify-token.ts') },
  }
}

/** One guest, in which the machine changes. */
async function dayTwo(
  guest: Guest,
  { suite, cgroup, only }: Settings,
  debs: Payload,
): Promise<void> {
  const isOfRegistrar = (phase: string) => REGISTRAR_PHASES.includes(phase)
  const more = only.some(isOfRegistrar) ? registrarFiles() : {}
  for (const [phase, hardware] of Object.entries(DAY_TWO)) {
    if (phase !== 'first' && !only.includes(phase)) continue
    const about = { instance_id: A, suite, cgroup, short: '', phase }
    const files = isOfRegistrar(phase) ? { ...debs, ...more } : debs
    await boots(guest, phase, payload('day-two.sh', about, files), hardware)
  }
}

async function boots(
  guest: Guest,
  name: string,
  files: Payload,
  hardware: Hardware = {},
): Promise<void> {
  const judge = new Judge(name)
  say(`${name}: ... booting`)
  await judge.of(guest.boot(files, judge, hardware))
}

function end(chosen: Settings): void {
  const { passed, failed } = counted()
  for (const what of failed) say(`failed: ${what}`)
  process.stdout.write(`${passed} passed, ${failed.length} failed\n${result(chosen)}\n`)
  process.exitCode = failed.length === 0 ? 0 : 1
}

// With an exit, so that no guest is left running.
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))
await main()
