import { expect, test } from 'vitest'
import { parseProofRequest } from '../../src/relay/proof.ts'
import { proofBody } from '../../src/sdk/proof-body.ts'

const url = 'https://api.example/orders'

test('a body is what the agent reads, and has no token in it', () => {
  for (const asked of [
    { method: 'GET', url, accessToken: 'unmistakable', nonce: 'n' },
    { kind: 'wpt', url, identityToken: 'unmistakable', transactionToken: 'unmistakable' },
  ] as const) {
    const body = proofBody(asked)
    expect(body).not.toContain('unmistakable')
    expect(parseProofRequest(Buffer.from(body)).kind).toBe('kind' in asked ? 'wpt' : 'dpop')
  }
  expect(JSON.parse(proofBody({ method: 'GET', url }))).toEqual({
    kind: 'dpop',
    method: 'GET',
    url,
  })
})

test('tokens are told as SHA-256 of their characters', () => {
  const { ath } = JSON.parse(proofBody({ method: 'GET', url, accessToken: 'token' }))
  expect(ath).toBe('PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A')
})
