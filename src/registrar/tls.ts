import { constants, X509Certificate } from 'node:crypto'
import type { Server } from 'node:http'
import { createServer, Server as HttpsServer } from 'node:https'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { causeChain, MetabindError } from '../errors.ts'
import { watchHandshakes } from '../http/handshakes.ts'
import type { MakeServer } from '../http/server.ts'
import type { Log } from '../log.ts'
import type { RegistrarConfig } from './registrar-config.ts'
import { readTlsFiles, type TlsFiles } from './tls-files.ts'

/** TLS that ends in the registrar. */
export interface RegistrarTls {
  readonly makeServer: MakeServer
  /**
   * Reads the files again. Who connects from now on is shown what they are now; connections that are open stay. If they
   * cannot be used, as while one of the two is replaced and the other is not yet, what was shown is.
   */
  reread(server: Server): void
}

/** Of TLS 1.2: forward secrecy and authenticated encryption alone (RFC 9325, 4.2). All that 1.3 has is both. */
const CIPHERS =
  'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE+AESGCM:ECDHE+CHACHA20'

/** @throws MetabindError REGISTRAR_TLS if the files cannot be used */
export function registrarTls(config: NonNullable<RegistrarConfig['tls']>, log: Log): RegistrarTls {
  let shown = readTlsFiles(config)
  const first = usable(config, shown)
  tell(log, shown)
  return {
    makeServer: (http, listener) => {
      // A client that never ends its handshake is bounded as one that never ends its request.
      const own = { handshakeTimeout: http.requestTimeout, ALPNProtocols: ['http/1.1'] }
      const server = createServer({ ...http, ...first, ...own }, listener)
      watchHandshakes(server)
      // node:https would have it answered as what cannot be parsed. There is nobody to answer.
      server.removeAllListeners('tlsClientError')
      server.on('tlsClientError', (_error, socket) => socket.destroy())
      return server
    },
    reread: (server) => {
      try {
        const files = readTlsFiles(config)
        if (isSame(files, shown) || !(server instanceof HttpsServer)) return
        server.setSecureContext(usable(config, files))
        shown = files
        tell(log, files)
      } catch (error) {
        log.error({ cause: causeChain(error) }, 'certificate not taken over')
      }
    },
  }
}

/**
 * Whether the registrar could show them to who connects now.
 *
 * @returns until when, in ms
 * @throws MetabindError REGISTRAR_TLS if not, also if they are not valid yet or any more
 */
export function tlsValidUntilMs(
  config: NonNullable<RegistrarConfig['tls']>,
  nowMs: number,
): number {
  const files = readTlsFiles(config)
  usable(config, files)
  const { validFromDate, validToDate } = new X509Certificate(files.certificate)
  const says = (word: string, at: Date) => `${config.certificate}: ${word} ${at.toISOString()}.`
  if (nowMs < validFromDate.getTime()) {
    throw new MetabindError('REGISTRAR_TLS', says('it is not valid before', validFromDate))
  }
  if (nowMs > validToDate.getTime()) {
    throw new MetabindError('REGISTRAR_TLS', says('it has expired on', validToDate))
  }
  return validToDate.getTime()
}

/** @throws MetabindError REGISTRAR_TLS if they are no certificate, no key, or not of each other */
function usable(
  { minimum_version: minimum, certificate: path }: NonNullable<RegistrarConfig['tls']>,
  { certificate, key }: TlsFiles,
): SecureContextOptions {
  const options: SecureContextOptions = {
    cert: certificate,
    key: key.reveal(),
    minVersion: `TLSv${minimum}`,
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  try {
    createSecureContext(options)
    return options
  } catch (error) {
    throw new MetabindError('REGISTRAR_TLS', path, error)
  }
}

function isSame(one: TlsFiles, other: TlsFiles): boolean {
  const isSameKey = one.key.reveal().equals(other.key.reveal())
  return isSameKey && one.certificate.equals(other.certificate)
}

function tell(log: Log, { certificate }: TlsFiles): void {
  const { subject, validTo, fingerprint256: fingerprint } = new X509Certificate(certificate)
  log.info({ subject, validTo, fingerprint }, 'certificate taken over')
}
