import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { freePort } from '../harness/free-port.ts'
import {
  AUTHORITY_EXTENSIONS,
  LEAF_EXTENSIONS,
  type OpensslCertificate,
  type OpensslPki,
} from '../harness/openssl-pki.ts'

/** The proxy before a registrar that TLS ends in, with a certificate of its own authority. */
export interface TlsFront {
  /** The registrar's own name: it leads here, as it is. */
  readonly url: string
  readonly authority: OpensslCertificate
  /** For [registrar] of an agent. */
  readonly config: string
  /** Method and path of each request so far. */
  readonly asked: readonly string[]
  /** From now on it leads to the registrar there. */
  leadTo(origin: string): void
  open(): Promise<void>
  /** Nobody answers there any more. */
  close(): Promise<void>
}

const NAME = 'localhost'

export async function tlsFront(pki: OpensslPki): Promise<TlsFront> {
  const authority = pki.certificate({
    subject: '/CN=authority of the fleet',
    extensions: AUTHORITY_EXTENSIONS,
  })
  const leaf = pki.certificate({
    subject: `/CN=${NAME}`,
    extensions: [...LEAF_EXTENSIONS, `subjectAltName = DNS:${NAME}`],
    under: authority,
  })
  const port = await freePort()
  const asked: string[] = []
  let origin: string | undefined
  const pass = (incoming: IncomingMessage, answer: ServerResponse): void => {
    const { method = '', url = '', headers } = incoming
    asked.push(`${method} ${url}`)
    const sent = request(`${origin}${url}`, {
      method,
      headers: { ...headers, 'x-forwarded-for': '192.0.2.1' },
    })
    sent.on('error', () => answer.destroy())
    sent.on('response', (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers)
      got.pipe(answer)
    })
    incoming.pipe(sent)
  }
  const key = readFileSync(leaf.keyFile)
  const cert = readFileSync(leaf.file)
  const server = createServer({ key, cert }, pass)
  const url = `https://${NAME}:${port}`
  return {
    url,
    authority,
    config: `[registrar]
url = "${url}"
address = "127.0.0.1"
authorities = "${authority.file}"
`,
    asked,
    leadTo: (next) => {
      origin = next
    },
    open: async () => {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
