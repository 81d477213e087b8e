import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { TpmCommands } from '../src/tpm.ts'
import type { Swtpm } from './swtpm.ts'

const run = promisify(execFile)

/** Runs a tool of tpm2-tools in the directory of a TPM, on that TPM. Returns what it prints. */
export async function tpm2(swtpm: Swtpm, tool: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti }
  const options = { cwd: swtpm.dir, timeout: 10_000, env }
  const { stdout } = await run(`tpm2_${tool}`, args, options)
  return stdout
}

/** The tools leave their objects loaded if there is no resource manager. */
export async function flushTools(swtpm: Swtpm): Promise<void> {
  for (const kind of ['-t', '-l', '-s']) await tpm2(swtpm, 'flushcontext', kind)
}

/** Makes an EK, and an AK under it: `ek.ctx`, `ek.pub`, `ak.ctx` and `ak.pub` in the TPM's directory. */
export async function createAk(
  swtpm: Swtpm,
  ek: 'ecc' | 'rsa',
  [type, hash, scheme]: readonly [type: string, hash: string, scheme: string],
): Promise<void> {
  await tpm2(swtpm, 'createek', '-c', 'ek.ctx', '-G', ek, '-u', 'ek.pub')
  await flushTools(swtpm)
  const kind = ['-G', type, '-g', hash, '-s', scheme]
  await tpm2(swtpm, 'createak', '-C', 'ek.ctx', '-c', 'ak.ctx', ...kind, '-u', 'ak.pub')
  await flushTools(swtpm)
}

/** Handles that the TPM holds (Part 2, 7.2): transient objects, loaded and saved sessions. */
export async function heldHandles(commands: TpmCommands): Promise<number[]> {
  const TPM_CAP_HANDLES = 1
  const handles: number[] = []
  for (const first of [0x8000_0000, 0x0200_0000, 0x0300_0000]) {
    const { data } = await commands.getCapability(TPM_CAP_HANDLES, first, 64)
    const wire = Buffer.from(data)
    for (let i = 0; i < wire.readUInt32BE(4); i++) handles.push(wire.readUInt32BE(8 + 4 * i))
  }
  return handles
}
