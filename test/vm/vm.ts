import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildSync } from 'esbuild'
import {
  type Boot,
  findAccelerator,
  type Guest,
  type Image,
  makeGuest,
  type Payload,
} from './guest.ts'

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
const SUITES: Readonly<Record<string, number>> = { bookworm: 2, trixie: 1 }

const started = Date.now()
let passed = 0
const failed: string[] = []

function say(text: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(4)
  process.stdout.write(`${seconds} s  ${text}\n`)
}

/** Built once for each release of Debian and each state of the files that it is made from. */
function theImage(suite: string): Image {
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
  }
}

function buildPackage(version?: string): string {
  const out = join(WORK, `packages-${version ?? 'own'}`)
  const args = [
    'packaging/package.ts',
    '--fast',
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

/** The clients of the load as one file, for the runtime in the guest. */
function loadProgram(): string {
  const built = buildSync({
    entryPoints: [join(HERE, 'load-until.ts')],
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

/** Reports what a boot found. */
async function judge(name: string, boot: Boot): Promise<void> {
  const lines = await boot.ended
  const say2 = (text: string) => say(`${name}: ${text}`)
  let showing = false
  for (const line of lines) {
    const [, kind, text = ''] = /^@(ok|fail|note) (.*)$/.exec(line) ?? []
    if (kind === 'ok') passed += 1
    if (kind === 'fail') failed.push(`${name}: ${text}`)
    if (kind !== undefined)
      say2(`${kind === 'ok' ? 'ok' : kind === 'fail' ? 'NOT OK' : 'note'} - ${text}`)
    showing = kind === 'fail' || (showing && line.startsWith('  '))
    if (showing && kind === undefined) say2(line)
  }
  if (!lines.some((line) => line.startsWith('@end ')))
    failed.push(`${name}: did not come to its end`)
}

function settings(): { short: string; suite: string } {
  const options = {
    short: { type: 'boolean', default: false },
    suite: { type: 'string', default: 'bookworm' },
  } as const
  const { short, suite } = parseArgs({ options }).values
  if (!Object.hasOwn(SUITES, suite))
    throw new Error(`--suite takes one of ${Object.keys(SUITES).join(', ')}`)
  return { short: short ? 'yes' : '', suite }
}

async function main(): Promise<void> {
  const { short, suite } = settings()
  mkdirSync(WORK, { recursive: true })
  const image = theImage(suite)
  say('building the packages')
  const debs: Payload = {
    'metabind.deb': { file: buildPackage() },
    'metabind-next.deb': { file: buildPackage(NEXT_VERSION) },
  }
  const accelerator = await findAccelerator(image, WORK)
  say(`booting guests by ${accelerator === 'kvm' ? 'KVM' : 'emulation, as KVM is not usable here'}`)
  const guest = (name: string): Guest => makeGuest(join(WORK, name), image, accelerator)

  const a = guest('a')
  const firstBoot = a.boot(
    payload(
      'first-boot.sh',
      { instance_id: A, short },
      {
        ...debs,
        'lockdown.sh': { file: join(HERE, 'lockdown.sh') },
        'load-until.mjs': { text: loadProgram() },
      },
    ),
  )
  // B starts while A goes on.
  const first = judge('A', firstBoot)
  const token = await firstBoot.data('token')
  const state = await firstBoot.data('state')
  const other = guest('b').boot(
    payload(
      'other-guest.sh',
      { instance_id: B, foreign_id: A },
      {
        ...debs,
        'foreign-token': { text: token },
        'foreign-state': { text: state },
      },
    ),
  )
  await first
  const second = a.boot(payload('second-boot.sh', { instance_id: A }, debs))
  await judge('B', other)
  await judge('A again', second)
  await judge('A once more', a.boot(payload('third-boot.sh', { instance_id: A }, debs)))

  for (const what of failed) say(`failed: ${what}`)
  process.stdout.write(`${passed} passed, ${failed.length} failed\n`)
  process.exitCode = failed.length === 0 ? 0 : 1
}

// With an exit, so that no guest is left running.
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))
await main()
