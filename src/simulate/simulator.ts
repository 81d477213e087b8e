/**
 * An ECS instance metadata service that listens: for tests in this process, for `metabind simulate`
 * and for whoever develops against ECS metadata. See docs/simulate.md.
 */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { ListenOptions } from 'node:net'
import { CONTROL_PREFIX, serveControl } from './control.ts'
import { type Fault, faultList } from './faults.ts'
import { randomInstanceId } from './instance.ts'
import { metadataService, type ServiceOptions } from './metadata-service.ts'
import { type RecordedRequest, requestLog } from './request-log.ts'
import { serveMetadata } from './serve.ts'
import { type Signer, sharedSigner } from './signer.ts'
import {
  CREDENTIAL_LIFETIME_SECONDS,
  type CredentialSource,
  stsCredentials,
} from './sts-credentials.ts'

export interface SimulatorOptions extends ServiceOptions {
  /** A random one if absent. All other facts about the instance follow from it. */
  readonly instanceId?: string | undefined
  readonly credentialLifetimeSeconds?: number | undefined
  /** The credentials of the role, in place of made-up ones. Closed with the simulator. */
  readonly credentials?: CredentialSource | undefined
  /** 127.0.0.1 and a free port if absent. */
  readonly listen?:
    | { readonly host?: string; readonly port?: number }
    | { readonly path: string }
    | undefined
  /** Serve `/_simulator/`. */
  readonly control?: boolean | undefined
  /** The key for PKCS7; absent: one that all simulators of this process share. */
  readonly signer?: Signer | undefined
  /** Wall clock in milliseconds, for credentials. */
  readonly now?: (() => number) | undefined
}

export interface Simulator extends AsyncDisposable {
  /** `http://HOST:PORT`, or `unix:PATH`. */
  readonly url: string
  readonly instanceId: string
  /** The certificate that PKCS7 answers verify with. */
  readonly certificatePem: string
  /** The last 10,000 requests, oldest first; not those to `/_simulator/`. */
  readonly requests: readonly RecordedRequest[]
  readonly faults: {
    /** Adds a fault; those set before stay. */
    set(fault: Fault): void
    clear(): void
    list(): readonly Fault[]
  }
  rotateCredentials(): void
  /** Gives the instance another role, with credentials of its own, or takes it away. */
  setRole(role: string | undefined): void
  /** Ends every connection, stalled ones too. */
  close(): Promise<void>
}

/** Starts a simulator; it listens when the promise resolves. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { instanceId = randomInstanceId(), now = Date.now, control = false } = options
  const signer = options.signer ?? (await sharedSigner())
  const lifetimeSeconds = options.credentialLifetimeSeconds ?? CREDENTIAL_LIFETIME_SECONDS
  const credentials = options.credentials ?? stsCredentials(lifetimeSeconds, now)
  let service = metadataService(instanceId, options, signer, credentials.read)
  const faults = faultList()
  const log = requestLog()
  const closing = new AbortController()
  const controlled = {
    faults: { set: faults.set, clear: faults.clear, list: faults.list },
    requests: log.requests,
    certificatePem: signer.certificatePem,
    rotateCredentials: credentials.rotate,
    setRole: (role: string | undefined) => {
      credentials.rotate()
      const { sessions } = service
      const changed = metadataService(instanceId, { ...options, role }, signer, credentials.read)
      service = { ...changed, sessions }
    },
  }
  const { renew: renewCredentials } = credentials
  const serving = {
    service: () => service,
    renewCredentials,
    faults,
    log,
    now,
    closing: closing.signal,
  }
  const server = createServer((request, response) => {
    const isControl = control && request.url?.startsWith(CONTROL_PREFIX)
    const served = isControl
      ? serveControl(controlled, request, response)
      : serveMetadata(serving, request, response)
    // Fails when the client leaves in the middle of an answer, or the simulator closes.
    served.catch(() => response.destroy())
  })
  const url = await listen(server, options.listen ?? {})
  let closed: Promise<void> | undefined
  const close = () => {
    closing.abort()
    credentials.close()
    closed ??= stop(server)
    return closed
  }
  return { ...controlled, url, instanceId, close, [Symbol.asyncDispose]: close }
}

async function listen(server: Server, options: ListenOptions): Promise<string> {
  server.listen('path' in options ? options : { host: '127.0.0.1', port: 0, ...options })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') return `unix:${address}`
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${host}:${address.port}`
}

async function stop(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}
