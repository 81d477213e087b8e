/**
 * A user without a rule asks for proofs, with its own session token, with that of a user who has a rule, which is
 * then revoked.
 */
import { expect, test } from 'vitest'
import { APP, APP_POLICY, ATTACKER, ownAgent, whileServed } from '../harness/attack.ts'
import { metabind } from '../harness/metabind.ts'
import { postAs, tokenAs } from '../harness/unix-http.ts'

const POLICY = `${APP_POLICY}
[[rule]]
effect = "allow"
users = [${APP}]
proofs = ["https://api.example/**"]
`
const PATH = '/metabind/v1/proof'
const BODY = JSON.stringify({ kind: 'dpop', method: 'GET', url: 'https://api.example/orders' })

test('none is signed for it, and the other user has its proofs', async (context) => {
  const { instance } = await ownAgent(context, { policy: POLICY })
  const { metadataSocket } = instance
  const { body: apps } = await tokenAs({ uid: APP }, metadataSocket)
  await whileServed(metadataSocket, async () => {
    const { body: own } = await tokenAs({ uid: ATTACKER }, metadataSocket)
    const denied = await postAs({ uid: ATTACKER }, metadataSocket, PATH, own, BODY)
    expect(denied.body).toMatch(/^PROOF_DENIED: /)
    const stolen = await postAs({ uid: ATTACKER }, metadataSocket, PATH, apps, BODY)
    expect(stolen.body).toMatch(/^TOKEN_CALLER: /)
  })
  expect(await postAs({ uid: APP }, metadataSocket, PATH, apps, BODY)).toMatchObject({
    status: 200,
  })
  await metabind(instance, ['revoke', '-'], { stdin: apps })
  const revoked = await postAs({ uid: APP }, metadataSocket, PATH, apps, BODY)
  expect(revoked.body).toMatch(/^TOKEN_INVALID: /)
})
