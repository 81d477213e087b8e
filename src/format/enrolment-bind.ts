import { createHash } from 'node:crypto'
import { jwkThumbprint, type PublicJwk } from './public-jwk.ts'

/** What an instance says in an enrolment, and to whom. */
export interface EnrolmentBinding {
  /** Of the registrar, as it is configured; no line end can be in it. */
  readonly url: string
  /** SK, by which the instance is to be known. */
  readonly key: PublicJwk
  /** Of the EK in the same evidence. */
  readonly ekName: Uint8Array
  /** That is shown; 0 if it has none. */
  readonly generation: number
  /** Of the connection, if TLS ends in the registrar: see tlsExporter. */
  readonly exporter?: Uint8Array | undefined
}

/**
 * What evidence for an enrolment binds under every signature: to whom the instance wants to be known, by which key, from
 * which TPM, after which enrolment, and, where TLS ends in the registrar, over which connection. Evidence that was asked
 * for by another service, or is passed on to another, or over another connection, has other bytes there. The AK signs no
 * EK otherwise: whoever has seen evidence could pass it on with an EK of software in it, which answers any challenge, and
 * be taken for a copy of the instance. Lines of text, so that a shell can make it:
 *
 *   printf 'metabind enrol v1\n%s\n%s\n%s\n%s\n' "$URL" "$THUMBPRINT" "$EK_NAME" "$GENERATION" | sha256sum
 */
export function enrolmentBind(binding: EnrolmentBinding): Buffer {
  const { url, key, ekName, generation, exporter } = binding
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const channel = exporter === undefined ? [] : [`${TLS_EXPORTER} ${hex(exporter)}`]
  const lines = [url, jwkThumbprint(key), hex(ekName), generation, ...channel]
  return createHash('sha256')
    .update(['metabind enrol v1', ...lines, ''].join('\n'))
    .digest()
}

/** The channel binding of RFC 9266, and what `GET /enrol/nonce` says in `channel` if evidence has to bind it. */
export const TLS_EXPORTER = 'tls-exporter'
const EXPORTER_LABEL = 'EXPORTER-Channel-Binding'
const EXPORTER_BYTES = 32

/** The part of tls.TLSSocket that is asked. */
interface TlsConnection {
  getProtocol(): string | null
  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer
}

/**
 * The channel binding `tls-exporter` of a connection (RFC 9266, 2), the same bytes at both of its ends and at no other
 * connection.
 *
 * @returns undefined before TLS 1.3: there it is unique only with the extended master secret (RFC 9266, RFC 7627), and
 *   Node does not say whether that was negotiated
 */
export function tlsExporter(connection: TlsConnection): Buffer | undefined {
  if (connection.getProtocol() !== 'TLSv1.3') return undefined
  return connection.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
}
