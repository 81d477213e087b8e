import { MetabindError } from '../errors.ts'
import { readGuardedFile } from '../registrar-keys/guarded-file.ts'
import { Secret } from '../secret.ts'
import { readRegularFileAtMost } from '../storage/read-at-most.ts'
import type { RegistrarConfig } from './registrar-config.ts'

/** What the registrar shows of itself over TLS. */
export interface TlsFiles {
  readonly certificate: Buffer
  readonly key: Secret<Buffer>
}

const BYTES_MAX = 65_536

/** @throws MetabindError REGISTRAR_TLS if one cannot be read, or the key can be by others */
export function readTlsFiles({ certificate, key }: NonNullable<RegistrarConfig['tls']>): TlsFiles {
  return {
    certificate: orUnusable(certificate, () => readRegularFileAtMost(certificate, BYTES_MAX)),
    key: new Secret(orUnusable(key, () => readGuardedFile(key, BYTES_MAX))),
  }
}

function orUnusable(path: string, read: () => Buffer): Buffer {
  try {
    return read()
  } catch (error) {
    throw new MetabindError('REGISTRAR_TLS', path, error)
  }
}
