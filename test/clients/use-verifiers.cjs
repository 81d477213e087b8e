// Unmodified verifiers and clients of tokens. A question and an answer are a line of JSON each.
const { createInterface } = require('node:readline')
const { once } = require('node:events')

const [, , modules] = process.argv

const from = (name) => require(require.resolve(name, { paths: [modules] }))

const ES256 = { name: 'ECDSA', namedCurve: 'P-256' }

/** The pair of a private JWK of P-256, as libraries on WebCrypto take it. */
async function keyPair({ d, ...jwk }) {
  const imported = (key, use) => crypto.subtle.importKey('jwk', key, ES256, true, [use])
  return {
    privateKey: await imported({ ...jwk, d }, 'sign'),
    publicKey: await imported(jwk, 'verify'),
  }
}

/** An API of express, which is asked once. */
async function askExpress({ token, audience, issuer, scheme, provenBy, provenFor }) {
  const { auth } = from('express-oauth2-jwt-bearer')
  const app = from('express')()
  app.get('/orders', auth({ issuerBaseURL: issuer, audience }), (request, response) => {
    response.json(request.auth.payload)
  })
  app.use((error, _request, response, _next) => {
    const { status, code, message } = error
    response.status(status ?? 500).json({ refused: `${status} ${code}: ${message}` })
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/orders`
  const headers = { authorization: `${scheme} ${token}` }
  if (provenBy !== undefined) {
    const { generateProof } = from('dpop')
    const pair = await keyPair(provenBy)
    headers.dpop = await generateProof(pair, provenFor ?? url, 'GET', undefined, token)
  }
  const response = await fetch(url, { headers })
  const said = await response.json()
  server.closeAllConnections()
  server.close()
  return response.ok ? { claims: said } : said
}

const WHO = {
  'aws-jwt-verify': async ({ token, audience, issuer, jwksUri }) => {
    const { JwtVerifier } = from('aws-jwt-verify')
    return { claims: await JwtVerifier.create({ issuer, audience, jwksUri }).verify(token) }
  },
  'express-oauth2-jwt-bearer': askExpress,
  'openid-client': async ({ issuer, algorithm, audience, subjectToken, format, provenBy }) => {
    const client = from('openid-client')
    const options = { algorithm }
    const id = 'instance'
    const config = await client.discovery(new URL(issuer), id, {}, client.None(), options)
    const proof =
      provenBy === undefined ? {} : { DPoP: client.getDPoPHandle(config, await keyPair(provenBy)) }
    const given = await client.genericGrantRequest(
      config,
      'urn:ietf:params:oauth:grant-type:token-exchange',
      {
        subject_token: subjectToken,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        ...{ audience, format },
      },
      proof,
    )
    return { given }
  },
  /** A proof that the library makes. */
  dpop: async ({ provenBy, url, method = 'POST', nonce, token }) => {
    const { calculateThumbprint, generateProof } = from('dpop')
    const pair = await keyPair(provenBy)
    const thumbprint = await calculateThumbprint(pair.publicKey)
    return { proof: await generateProof(pair, url, method, nonce, token), thumbprint }
  },
  /** An attestation of WebAuthn whose chain ends at a root. */
  '@simplewebauthn/server': async ({ root, response, challenge, origin }) => {
    const { SettingsService, verifyRegistrationResponse } = from('@simplewebauthn/server')
    SettingsService.setRootCertificates({ identifier: 'tpm', certificates: [root] })
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response,
      ...{ expectedChallenge: challenge, expectedOrigin: origin },
      expectedRPID: new URL(origin).hostname,
    })
    return verified ? { claims: { format: registrationInfo.fmt } } : { refused: 'not verified' }
  },
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { who, ...asked } = JSON.parse(line)
  const answer = await WHO[who](asked).catch((error) => ({
    refused: `${error.name}: ${error.cause?.message ?? error.error ?? ''} ${error.message}`,
  }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
})
