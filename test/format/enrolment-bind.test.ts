import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { enrolmentBind, tlsExporter } from '../../src/format/enrolment-bind.ts'
import { jwkThumbprint, type PublicJwk } from '../../src/format/public-jwk.ts'
import { makeAuthority, newKey } from '../harness/certificate.ts'

const KEY: PublicJwk = { kty: 'EC', crv: 'P-256', x: 'AQ', y: 'Ag' }
const URL = 'https://registrar.example'
const sha256 = (text: string) => createHash('sha256').update(text).digest()

test('what is bound is lines of text, with the exporter as the last if there is one', () => {
  const lines = `metabind enrol v1\n${URL}\n${jwkThumbprint(KEY)}\n000bcd\n7\n`
  const binding = { url: URL, key: KEY, ekName: Buffer.from('000bcd', 'hex'), generation: 7 }
  expect(enrolmentBind(binding)).toEqual(sha256(lines))
  const exporter = Buffer.alloc(32, 0xab)
  const withChannel = `${lines}tls-exporter ${'ab'.repeat(32)}\n`
  expect(enrolmentBind({ ...binding, exporter })).toEqual(sha256(withChannel))
})

/** Both ends of one connection. */
async function connection(
  version: 'TLSv1.2' | 'TLSv1.3',
): Promise<AsyncDisposable & { client: TLSSocket; server: TLSSocket }> {
  const key = newKey()
  const { der } = makeAuthority('Registrar', { extensions: [] }, undefined, key)
  const pem = (label: string, bytes: Buffer) =>
    `-----BEGIN ${label}-----\n${bytes.toString('base64')}\n-----END ${label}-----\n`
  const listener = createServer({
    cert: pem('CERTIFICATE', der),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const accepted = once(listener, 'secureConnection')
  const versions = { minVersion: version, maxVersion: version } as const
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...versions })
  await once(client, 'secureConnect')
  const [server] = await accepted
  return {
    client,
    server,
    [Symbol.asyncDispose]: async () => {
      client.destroy()
      listener.close()
    },
  }
}

test('both ends of a connection export the same, and another connection something else', async () => {
  await using one = await connection('TLSv1.3')
  await using other = await connection('TLSv1.3')
  const exported = tlsExporter(one.client)
  expect(exported).toHaveLength(32)
  expect(tlsExporter(one.server)).toEqual(exported)
  expect(tlsExporter(other.client)).not.toEqual(exported)
})

test('before TLS 1.3 nothing is exported', async () => {
  await using one = await connection('TLSv1.2')
  expect([tlsExporter(one.client), tlsExporter(one.server)]).toEqual([undefined, undefined])
})
