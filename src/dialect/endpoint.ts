import type { DialectName } from '../format/dialect-name.ts'
import { DIALECTS } from './dialects.ts'

/** Where a metadata service is. */
export interface Endpoint {
  /** What a redirect of the service may call it. */
  readonly origin: string
  readonly host: string
  readonly port: number
  /** Firewall rules need an address, and no name. */
  readonly isIpv4: boolean
}

const HTTP_PORT = 80

/** @param url `http://HOST[:PORT]` */
export function parseEndpoint(url: string): Endpoint {
  const { origin, hostname, port } = new URL(url)
  const isIpv4 = /^[0-9.]+$/.test(hostname)
  return { origin, host: hostname, port: port === '' ? HTTP_PORT : Number(port), isIpv4 }
}

/** The URL of the service that a configuration means: the dialect's own unless it names another. */
export function endpointOf(source: {
  readonly dialect: DialectName
  readonly endpoint?: string | undefined
}): string {
  return source.endpoint ?? DIALECTS[source.dialect].endpoint
}
