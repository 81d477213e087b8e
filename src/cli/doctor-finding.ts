import { existsSync } from 'node:fs'
import type { Sockets } from '../agent-socket.ts'
import { CONFIG_FILE, type Config, readConfig } from '../config.ts'
import { ERRORS } from '../error-table.ts'
import type { MetabindError } from '../errors.ts'

/** One thing that is wrong, and what to do about it. */
export interface Finding {
  /** For programs; says what is wrong in a few words. */
  readonly id: string
  /** `broken`: something does not work; `risk`: it works, unsafely; `hint`: it could be better. */
  readonly weight: 'broken' | 'risk' | 'hint'
  readonly says: string
  readonly remedy: string
}

/** What is examined. Checks read from it and from the system, and change neither. */
export interface Installation {
  readonly sockets: Sockets
  readonly configFiles: readonly string[] | undefined
  readonly home: string | undefined
  readonly isRoot: boolean
}

export type DoctorCheck = (
  installation: Installation,
) => readonly Finding[] | Promise<readonly Finding[]>

/** The configuration files that the agent would read. */
export function configFilesOf({ configFiles }: Installation): readonly string[] {
  return configFiles ?? (existsSync(CONFIG_FILE) ? [CONFIG_FILE] : [])
}

/** The configuration, or undefined if checkConfiguration has already said that there is none. */
export function configOf(installation: Installation): Config | undefined {
  try {
    return readConfig(configFilesOf(installation))
  } catch {
    return undefined
  }
}

/** A failure of the table of errors, as a finding. */
export function findingOf(id: string, error: MetabindError): Finding {
  return { id, weight: 'broken', says: error.message, remedy: ERRORS[error.code].remedy }
}
