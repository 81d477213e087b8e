import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { MetabindError, pathWithReason } from '../errors.ts'
import type { PublicJwk } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import { keyStore } from '../registrar-keys/key-store.ts'
import { openMasterKey } from '../registrar-keys/master-key.ts'
import { openKeyToken } from '../registrar-keys/pkcs11-token.ts'
import type { DatabaseState } from '../registrar-repository/database-state.ts'
import { SQLITE_MIGRATIONS } from '../registrar-repository/sqlite-schema.ts'
import { admissionRules } from './admission-rules.ts'
import { postgresqlPlace } from './open-repository.ts'
import type { RegistrarConfig } from './registrar-config.ts'
import { tlsValidUntilMs } from './tls.ts'

/** One thing that a registrar needs to begin, and how it stands. */
export interface CheckRow {
  readonly what: string
  /** How it is, if it will do. */
  readonly says: string
  /** What is wrong with it. */
  readonly fault: MetabindError | undefined
}

/** Looks at all that a start would look at, and changes nothing. The configuration itself has been read. */
export async function checkRows(config: RegistrarConfig, nowMs: number): Promise<CheckRow[]> {
  let state: DatabaseState | undefined
  const database = await rowOf('database', async () => {
    state = await stateOf(config.storage)
    return databaseInWords(config.storage, state)
  })
  return [
    await rowOf('trust', () => {
      admissionRules(config)
      return 'valid'
    }),
    await rowOf('tls', () => tlsInWords(config, nowMs)),
    database,
    await rowOf('master key', () => masterKeyInWords(config.storage.master_key, state)),
    ...(config.keys.pkcs11 === undefined
      ? []
      : [await rowOf('key token', () => tokenInWords(config))]),
  ]
}

async function rowOf(what: string, look: () => string | Promise<string>): Promise<CheckRow> {
  try {
    return { what, says: await look(), fault: undefined }
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    return { what, says: '', fault: error }
  }
}

function tlsInWords({ tls }: RegistrarConfig, nowMs: number): string {
  if (tls === undefined) return 'none: a proxy has to end it'
  return `valid: ${tls.certificate}, until ${new Date(tlsValidUntilMs(tls, nowMs)).toISOString()}`
}

type Storage = RegistrarConfig['storage']

/** @throws MetabindError REGISTRAR_DATABASE, FILE_UNUSABLE, DIRECTORY_UNSAFE */
async function stateOf({ database, postgresql }: Storage): Promise<DatabaseState | undefined> {
  if (postgresql !== undefined) {
    const { postgresqlState } = await import('../registrar-repository/postgresql-migrate.ts')
    return postgresqlState(postgresqlPlace(postgresql))
  }
  const { sqliteState } = await import('../registrar-repository/sqlite-state.ts')
  return sqliteState(database)
}

/** @throws MetabindError REGISTRAR_DATABASE, DIRECTORY_FAULT */
function databaseInWords({ database, postgresql }: Storage, state: DatabaseState | undefined) {
  const name = postgresql === undefined ? database : `${postgresql.database} at ${postgresql.host}`
  if (state === undefined) requireWritable(dirname(database))
  if (state === undefined || state.version === 0) return `none yet: ${name}; a start makes it`
  const present = SQLITE_MIGRATIONS.length
  if (state.version > present) {
    throw new MetabindError('REGISTRAR_DATABASE', `${name}: it was written by a later version.`)
  }
  const older = state.version < present ? `; a start brings it to ${present}` : ''
  return `valid: ${name}, schema ${state.version}${older}`
}

function requireWritable(directory: string): void {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new MetabindError('DIRECTORY_FAULT', pathWithReason(directory, error))
  }
}

/** @throws MetabindError REGISTRAR_DATABASE if it does not open what is in the database, DIRECTORY_UNSAFE */
function masterKeyInWords(path: string, state: DatabaseState | undefined): string {
  const keys = state?.keys ?? []
  if (!existsSync(path)) {
    if (keys.length === 0) return `none yet: ${path}; a start makes it`
    throw new MetabindError(
      'REGISTRAR_DATABASE',
      `${path} is not there, which sealed what is in it.`,
    )
  }
  const master = openMasterKey(path)
  const store = keyStore({ master, token: undefined, newKeys: 'database' })
  for (const { sealed, publicJwk } of keys) store.open(sealed, parseJson(publicJwk) as PublicJwk)
  return `valid: ${path}${keys.length === 0 ? '' : `, opens the ${keys.length} keys in the database`}`
}

/** Opens it and logs in, once. @throws MetabindError REGISTRAR_HSM, REGISTRAR_PIN */
async function tokenInWords({ keys: { pkcs11 } }: RegistrarConfig): Promise<string> {
  if (pkcs11 === undefined) return 'none'
  const token = await openKeyToken(pkcs11, () => undefined)
  try {
    await token.open()
    return `valid: ${pkcs11.token}, takes the PIN`
  } finally {
    await token.close()
  }
}
