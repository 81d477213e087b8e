/**
 * A user who may have proofs for one place of a service asks for one that the service would take for another place: by dot
 * segments, escapes, users before the host, hosts in another notation, line ends, a second member, a method in another
 * spelling, and a proof that names no method.
 */
import { expect, test } from 'vitest'
import { APP, APP_POLICY, ownAgent, SERVICE_USER, whileServed } from '../harness/attack.ts'
import { postAs, tokenAs } from '../harness/unix-http.ts'

const POLICY = `${APP_POLICY}
[[rule]]
effect = "deny"
proofs = ["https://api.example/public/admin/**"]

[[rule]]
effect = "allow"
users = [${APP}]
proofs = ["https://api.example/public/**"]
methods = ["GET"]

[[rule]]
effect = "allow"
users = [${SERVICE_USER}]
proofs = ["https://api.example/**"]
`
const HASH = 'A'.repeat(43)
const get = (url: string, more: object = {}) =>
  JSON.stringify({ kind: 'dpop', method: 'GET', url, ...more })

const ATTEMPTS = [
  get('https://api.example/secret'),
  get('https://api.example/public/../secret'),
  get('https://api.example/public/%2e%2e/secret'),
  get('https://api.example/public/..%2Fsecret'),
  get('https://api.example/public/..;/secret'),
  get('https://api.example/public\\..\\secret'),
  get('https://api.example/public/admin'),
  get('https://api.example/public/admin/'),
  get('https://api.example/public//admin'),
  get('https://api.example/public/%61dmin'),
  get('https://api.example./public/admin'),
  get('https://api.example@other.example/public/'),
  get('https://other.example/public/#@api.example/public/'),
  get('https://other.example\r\n.api.example/public/'),
  get('http://api.example/public/'),
  get('https://api.example:8443/public/'),
  get('https://api.example/public/', { method: 'POST' }),
  get('https://api.example/public/', { method: 'get' }),
  get('https://api.example/public/', { htu: 'https://api.example/secret' }),
  get('https://api.example/public/', { nonce: 'a"b' }),
  get('https://api.example/public/').replace('}', ',"url":"https://api.example/secret"}'),
  JSON.stringify({ kind: 'wpt', url: 'https://api.example/public/', wth: HASH }),
]

test('no proof is signed, and whoever may have one still has it', async (context) => {
  const { metadataSocket } = (await ownAgent(context, { policy: POLICY })).instance
  const { body: token } = await tokenAs({ uid: APP }, metadataSocket)
  const ask = (body: string) =>
    postAs({ uid: APP }, metadataSocket, '/metabind/v1/proof', token, body)
  await whileServed(metadataSocket, async () => {
    for (const body of ATTEMPTS) {
      const { status, body: said } = await ask(body)
      expect([body, status, said]).toEqual([
        body,
        expect.toBeOneOf([400, 403]),
        expect.stringMatching(/^PROOF_(DENIED|URL|REQUEST): /),
      ])
    }
    expect(await ask(get('https://api.example/public/'))).toMatchObject({ status: 200 })
  })
})
