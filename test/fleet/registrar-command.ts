import { fileURLToPath } from 'node:url'
import { type Finished, runNode } from '../harness/metabind.ts'
import type { RegistrarProcess } from './registrar-process.ts'

export const registrarProgram = fileURLToPath(new URL('../../src/registrar.ts', import.meta.url))

/** Runs an administrator's verb beside a registrar that serves. */
export function registrarCommand(
  { config }: Pick<RegistrarProcess, 'config'>,
  ...args: readonly string[]
): Promise<Finished> {
  return runNode([registrarProgram, ...args, '--config', config])
}
