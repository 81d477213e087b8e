import { type Finished, runNode } from '../harness/metabind.ts'
import { REGISTRAR } from '../harness/programs.ts'
import type { RegistrarProcess } from './registrar-process.ts'

/** Runs an administrator's verb beside a registrar that serves. */
export function registrarCommand(
  { config }: Pick<RegistrarProcess, 'config'>,
  ...args: readonly string[]
): Promise<Finished> {
  return runNode([REGISTRAR, ...args, '--config', config])
}
