import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** A virtual machine with a disk and a TPM of its own, both of which outlast a boot. */
export interface Guest {
  /** Boots, runs `run` of the payload as root and powers off. */
  boot(payload: Payload, listener: Listener, hardware?: Hardware): Boot
}

/** What a guest says, while it says it. */
export interface Listener {
  line(text: string): void
  /** The guest has said nothing for so long; the last lines of its console. */
  silent(seconds: number, console: readonly string[]): void
}

/** What differs from the usual machine, for one boot. */
export interface Hardware {
  readonly tpm?: boolean
  readonly kernelArguments?: string
}

/** Files for the second disk: a name, and the file that is copied or the text itself. */
export type Payload = Readonly<
  Record<string, { readonly file: string } | { readonly text: string }>
>

export interface Boot {
  /** The value of the line `@data NAME VALUE`, as soon as the guest has said it. */
  data(name: string): Promise<string>
  /** When the guest is off: the last lines of its console. Rejected if it had to be killed. */
  ended: Promise<readonly string[]>
}

export interface Image {
  readonly root: string
  readonly kernel: string
  /** How many processors are emulated; by KVM there are two. */
  readonly emulatedProcessors: number
  readonly kernelArguments: string
}

const BOOT_MS_MAX = 3_600_000
// A boot under emulation takes a minute, an upgrade under load three.
const SILENCE_MS = 120_000
const CONSOLE_LINES = 12
const PROBE_MS_MAX = 15_000
const LOOK_MS = 200
const MEMORY_MIB = 1024

/**
 * How guests are run: by KVM if a kernel gets as far as to miss its disk, by emulation if not.
 * That /dev/kvm is there says little: inside another virtual machine it may start and then hang.
 */
export async function findAccelerator(image: Image, directory: string): Promise<'kvm' | 'tcg'> {
  if (!existsSync('/dev/kvm')) return 'tcg'
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const known = join(directory, `accelerator-${bootId}`)
  if (existsSync(known)) return readFileSync(known, 'utf8') === 'kvm' ? 'kvm' : 'tcg'
  const console = join(directory, 'probe.log')
  writeFileSync(console, '')
  const qemu = spawn('qemu-system-x86_64', [
    ...['-machine', 'q35', '-accel', 'kvm', '-cpu', 'host', '-m', '256', '-display', 'none'],
    ...['-no-reboot', '-nic', 'none', '-kernel', image.kernel, '-serial', `file:${console}`],
    ...['-append', 'console=ttyS0 panic=-1 root=/dev/none'],
  ])
  const deadline = Date.now() + PROBE_MS_MAX
  const reached = () => /Unable to mount root|Cannot open root/.test(readFileSync(console, 'utf8'))
  while (Date.now() < deadline && qemu.exitCode === null && !reached()) await sleep(LOOK_MS)
  const found = reached() ? 'kvm' : 'tcg'
  qemu.kill('SIGKILL')
  writeFileSync(known, found)
  return found
}

/** Makes a disk and manufactures a TPM. */
export function makeGuest(directory: string, image: Image, accelerator: 'kvm' | 'tcg'): Guest {
  rmSync(directory, { recursive: true, force: true })
  const tpm = join(directory, 'tpm')
  mkdirSync(tpm, { recursive: true })
  const disk = join(directory, 'disk.qcow2')
  const backing = ['-b', image.root, '-F', 'raw']
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, disk])
  const flags = ['--tpm2', '--tpmstate', tpm, '--pcr-banks', 'sha256', '--overwrite']
  execFileSync('swtpm_setup', flags, { stdio: 'ignore', timeout: 60_000 })
  let boots = 0
  return {
    boot: (payload, listener, hardware = {}) => {
      boots += 1
      const work = join(directory, `boot-${boots}`)
      mkdirSync(work)
      const archive = packPayload(work, payload)
      const machine = { tpm, disk, payload: archive, image, accelerator, hardware, work }
      return run(machine, listener)
    },
  }
}

function packPayload(work: string, payload: Payload): string {
  const folder = join(work, 'payload')
  mkdirSync(folder)
  for (const [name, content] of Object.entries(payload)) {
    if ('text' in content) writeFileSync(join(folder, name), content.text)
    else execFileSync('cp', [content.file, join(folder, name)])
  }
  const archive = join(work, 'payload.tar')
  execFileSync('sh', ['-c', 'chmod +x "$0"/run && tar -cf "$1" -C "$0" .', folder, archive])
  return archive
}

interface Machine {
  readonly tpm: string
  readonly disk: string
  readonly payload: string
  readonly image: Image
  readonly accelerator: 'kvm' | 'tcg'
  readonly hardware: Hardware
  readonly work: string
}

function run(machine: Machine, listener: Listener): Boot {
  const said: string[] = []
  let lastMs = Date.now()
  let silentMs = 0
  const watch = setInterval(() => {
    if (Date.now() - lastMs < SILENCE_MS) return
    lastMs += SILENCE_MS
    silentMs += SILENCE_MS
    listener.silent(silentMs / 1000, consoleTail(machine.work))
  }, LOOK_MS)
  const hear = (line: string) => {
    lastMs = Date.now()
    silentMs = 0
    said.push(line)
    listener.line(line)
  }
  let over = false
  const ended = start(machine, hear)
    .then(() => consoleTail(machine.work))
    .finally(() => {
      over = true
      clearInterval(watch)
    })
  ended.catch(() => undefined)
  return {
    ended,
    data: async (name) => {
      const prefix = `@data ${name} `
      for (;;) {
        const found = said.find((line) => line.startsWith(prefix))
        if (found !== undefined) return found.slice(prefix.length)
        if (over) throw new Error(`the guest never said ${name}; see ${machine.work}`)
        await sleep(LOOK_MS)
      }
    },
  }
}

function consoleTail(work: string): readonly string[] {
  const file = join(work, 'console.log')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'latin1').split(/[\r\n]+/)
  // Without what moves a terminal's cursor.
  const plain = lines.map((line) =>
    line.replaceAll(/[^\x20-\x7e]\[[\d;?]*[A-Za-z]|[^\x20-\x7e]/g, ''),
  )
  return plain.filter((line) => line.trim() !== '').slice(-CONSOLE_LINES)
}

async function start(machine: Machine, hear: (line: string) => void): Promise<void> {
  const control = join(machine.work, 'tpm.sock')
  const swtpm = spawn('swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${machine.tpm}`],
    ...['--ctrl', `type=unixio,path=${control}`],
    // It ends with the guest, however that ends.
    '--terminate',
  ])
  try {
    while (!existsSync(control)) {
      if (swtpm.exitCode !== null) throw new Error('swtpm ended')
      await sleep(10)
    }
    await powerOn(machine, control, hear)
  } finally {
    swtpm.kill()
  }
}

function qemuArguments(machine: Machine, control: string): readonly string[] {
  const { disk, payload, image, hardware, work } = machine
  const isKvm = machine.accelerator === 'kvm'
  const accel = isKvm ? ['kvm', '-cpu', 'host'] : ['tcg,thread=multi', '-cpu', 'max']
  const processors = String(isKvm ? 2 : image.emulatedProcessors)
  const append = ['root=/dev/nvme0n1 rw console=ttyS0 quiet panic=-1', image.kernelArguments]
  if (hardware.kernelArguments !== undefined) append.push(hardware.kernelArguments)
  const tpm = [
    ...['-chardev', `socket,id=tpm,path=${control}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm'],
    ...['-device', 'tpm-crb,tpmdev=tpm'],
  ]
  return [
    ...['-machine', 'q35', '-accel', ...accel, '-smp', processors, '-m', String(MEMORY_MIB)],
    ...['-display', 'none', '-no-reboot', '-nic', 'none', '-kernel', image.kernel],
    ...['-append', append.join(' ')],
    ...['-drive', `file=${disk},if=none,id=root,format=qcow2`],
    ...['-device', 'nvme,serial=root,drive=root'],
    ...['-drive', `file=${payload},if=none,id=payload,format=raw`],
    // By a driver that is no part of the kernel: of two NVMe disks either may be found first, and be the root.
    ...['-device', 'virtio-blk-pci,drive=payload'],
    ...['-serial', `file:${join(work, 'console.log')}`],
    ...['-chardev', `stdio,id=said,logfile=${join(work, 'said.log')}`, '-serial', 'chardev:said'],
    ...((hardware.tpm ?? true) ? tpm : []),
  ]
}

async function powerOn(
  machine: Machine,
  control: string,
  hear: (line: string) => void,
): Promise<void> {
  const qemu = spawn('qemu-system-x86_64', qemuArguments(machine, control))
  createInterface(qemu.stdout).on('line', (line) => hear(line.replaceAll('\r', '')))
  let trouble = ''
  qemu.stderr.on('data', (chunk: Buffer) => {
    trouble += chunk
  })
  const timer = setTimeout(() => qemu.kill('SIGKILL'), BOOT_MS_MAX)
  const killAtExit = () => void qemu.kill('SIGKILL')
  process.once('exit', killAtExit)
  await exitOf(qemu)
  process.removeListener('exit', killAtExit)
  clearTimeout(timer)
  if (qemu.exitCode !== 0)
    throw new Error(`the guest did not power off: ${trouble} (see ${machine.work})`)
}

async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
}
