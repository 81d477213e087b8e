import type { Config } from '../config.ts'
import { MetabindError } from '../errors.ts'
import type { RegistrarPlace } from '../federation/registrar-http.ts'
import { readRegularFileAtMost } from '../storage/read-at-most.ts'

/**
 * Where the configuration says that the registrar is.
 *
 * @returns undefined if it names none
 * @throws MetabindError FILE_UNUSABLE
 */
export function registrarPlace({ registrar }: Config): RegistrarPlace | undefined {
  const { url, address, authorities, timeout_ms: timeoutMs } = registrar
  if (url === undefined) return undefined
  return {
    url,
    address: address === undefined ? undefined : addressOf(address),
    authorities: authorities === undefined ? undefined : readAuthorities(authorities),
    timeoutMs,
  }
}

// A whole bundle of a distribution has a quarter of it.
const AUTHORITIES_BYTES_MAX = 1_048_576

function readAuthorities(file: string): Buffer {
  try {
    const bytes = readRegularFileAtMost(file, AUTHORITIES_BYTES_MAX + 1)
    if (bytes.length > AUTHORITIES_BYTES_MAX) throw new Error('it is too long')
    // Node takes anything else for a list of none.
    if (!bytes.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it is no PEM')
    return bytes
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', file, error)
  }
}

/** `IP[:PORT]` or `[IP][:PORT]`, which the configuration has been held to. */
function addressOf(text: string): RegistrarPlace['address'] {
  const [, six, four = '', port] = /^(?:\[(.+)\]|([^:]+))(?::([0-9]+))?$/.exec(text) ?? []
  return { host: six ?? four, port: port === undefined ? undefined : Number(port) }
}
