import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { Agent, fetch as fetchBy } from 'undici'
import { z } from 'zod'

/**
 * The token services of three clouds as far as their SDKs ask them: each finds the issuer's keys over the network, by
 * discovery, as the real one does, and gives credentials to the subject that its role trusts.
 */
export interface StandInSts extends AsyncDisposable {
  /** `localhost:PORT`, by TLS. */
  readonly host: string
  /** Of each request: `good`, or why it was refused. */
  readonly found: readonly string[]
}

export interface TrustedIssuer {
  readonly url: string
  /** PEM of the authority of its certificate. */
  readonly authorities: string
  readonly subject: string
}

const EXPIRATION = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z$/, 'Z')
const KEYS = { id: 'STANDIN', secret: 'secret', token: 'session' }

interface Asked {
  readonly token: string
  readonly audience: string
  readonly good: object | string
}

/** Files of PEM, of a certificate for `localhost`. */
export interface OwnCertificate {
  readonly file: string
  readonly keyFile: string
}

/** @param port a free one when left out */
export async function standInSts(
  leaf: OwnCertificate,
  trusted: TrustedIssuer,
  port = 0,
): Promise<StandInSts> {
  const found: string[] = []
  const tls = { key: readFileSync(leaf.keyFile), cert: readFileSync(leaf.file) }
  const server = createServer(tls, async (incoming, answer) => {
    const { token, audience, good } = askedOf(incoming, await text(incoming))
    try {
      await verifyByDiscovery(token, audience, trusted)
      found.push('good')
      answer.end(typeof good === 'string' ? good : JSON.stringify(good))
    } catch (error) {
      found.push(String(error))
      answer.statusCode = 400
      answer.end('{"error":"invalid_grant","error_description":"refused"}')
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `localhost:${(server.address() as AddressInfo).port}`,
    found,
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Which cloud's SDK asks is known by how it asks. */
function askedOf({ url = '' }: IncomingMessage, body: string): Asked {
  const form = new URLSearchParams(body)
  if (form.get('Action') === 'AssumeRoleWithWebIdentity') {
    const { id, secret, token } = KEYS
    const credentials = `<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>${EXPIRATION}</Expiration></Credentials>`
    const result = `<AssumeRoleWithWebIdentityResult>${credentials}</AssumeRoleWithWebIdentityResult>`
    return {
      token: form.get('WebIdentityToken') ?? '',
      audience: 'sts.amazonaws.com',
      good: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${result}</AssumeRoleWithWebIdentityResponse>`,
    }
  }
  if (url.includes('Action=AssumeRoleWithOIDC')) {
    const { id, secret, token } = KEYS
    const good = {
      AccessKeyId: id,
      AccessKeySecret: secret,
      SecurityToken: token,
      Expiration: EXPIRATION,
    }
    const audience = 'sts.aliyuncs.com'
    return {
      token: form.get('OIDCToken') ?? '',
      audience,
      good: { RequestId: 'a', Credentials: good },
    }
  }
  const good = {
    access_token: KEYS.token,
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: 3600,
  }
  return { token: form.get('subject_token') ?? '', audience: form.get('audience') ?? '', good }
}

const discovered = z.object({ issuer: z.string(), jwks_uri: z.url() })

/** @throws what refuses it */
async function verifyByDiscovery(
  token: string,
  audience: string,
  { url, authorities, subject }: TrustedIssuer,
): Promise<void> {
  const dispatcher = new Agent({ connect: { ca: readFileSync(authorities) } })
  try {
    const get = (address: string) => fetchBy(address, { dispatcher })
    const configuration = await get(`${url}/.well-known/openid-configuration`)
    const { issuer, jwks_uri: jwks } = discovered.parse(await configuration.json())
    if (issuer !== url) throw new Error('another issuer')
    const keys = createRemoteJWKSet(new URL(jwks), {
      [customFetch]: async (address) => new Response(await (await get(address)).text()),
    })
    await jwtVerify(token, keys, { issuer, audience, subject, algorithms: ['RS256'] })
  } finally {
    await dispatcher.close()
  }
}
